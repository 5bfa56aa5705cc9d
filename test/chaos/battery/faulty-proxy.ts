// TCP proxy whose connections can be made faulty while they are in use.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Line {
  /** Delay before each chunk is forwarded, in milliseconds. */
  readonly latencyMs?: number;
  /** Maximum size of a chunk, in bytes. */
  readonly slice?: number;
  /**
   * Direction in which data is held back without closing the connection: both, to the server, or to the
   * client.
   */
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

  /** Changes the behavior of all connections, existing ones included. */
  become(line: Line): void {
    this.line = line;
    for (const go of this.waiting.splice(0)) go();
  }

  /** Number of connected clients. */
  get connections(): number {
    return this.sockets.size / 2;
  }

  /** Resets every connection, like a router that loses its state. */
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
