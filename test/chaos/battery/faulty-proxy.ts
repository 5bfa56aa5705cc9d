// A TCP proxy between any two parts, whose line can be made bad while it is in use.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Line {
  /** Before each piece goes on. */
  readonly latencyMs?: number;
  /** Bytes of a piece at most. */
  readonly slice?: number;
  /** Nothing passes, and nobody is told: both ways, to the server only, or back only. */
  readonly silent?: 'both' | 'there' | 'back';
}

export class FaultyProxy {
  private line: Line = {};
  private readonly sockets = new Set<Socket>();
  private readonly waiting: (() => void)[] = [];

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    readonly port: number,
  ) {}

  static async to(target: number): Promise<FaultyProxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new FaultyProxy(server, (server.address() as AddressInfo).port);
    server.on('connection', (client) => proxy.join(client, connect(target, '127.0.0.1')));
    return proxy;
  }

  /** From now on, also for what is connected already. */
  become(line: Line): void {
    this.line = line;
    for (const go of this.waiting.splice(0)) go();
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.sockets.size / 2;
  }

  /** Ends every connection at once, as a machine between the two that forgets them. */
  reset(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  close(): void {
    this.become({});
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private join(client: Socket, upstream: Socket): void {
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      this.sockets.add(socket);
      socket.on('error', () => undefined);
    }
    void this.carry(client, upstream, 'there');
    void this.carry(upstream, client, 'back');
    client.on('close', () => this.sockets.delete(client) && upstream.destroy());
    upstream.on('close', () => this.sockets.delete(upstream) && client.destroy());
  }

  private async carry(from: Socket, to: Socket, way: 'there' | 'back'): Promise<void> {
    try {
      for await (const bytes of from as AsyncIterable<Buffer>) {
        const { slice = bytes.length } = this.line;
        for (let at = 0; at < bytes.length; at += slice) {
          await this.passable(way);
          const { latencyMs = 0 } = this.line;
          if (latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, latencyMs));
          if (to.destroyed) return;
          if (!to.write(bytes.subarray(at, at + slice)))
            await Promise.race([once(to, 'drain'), once(to, 'close')]);
        }
      }
      to.end();
    } catch {
      to.destroy();
    }
  }

  private async passable(way: 'there' | 'back'): Promise<void> {
    while (this.line.silent === 'both' || this.line.silent === way)
      await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}
