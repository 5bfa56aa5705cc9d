// TCP proxy in front of PostgreSQL that can lose the response to a COMMIT: the server has committed, but the
// client's connection closes before the response arrives.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

/** CommandComplete of a COMMIT: type, length, tag. */
const COMMITTED = Buffer.from('C\0\0\0\x0bCOMMIT\0', 'latin1');

export interface CuttingProxy {
  readonly port: number;
  /**
   * Cuts the connection of the next client that sends `marker` and then commits, before it receives the
   * response.
   */
  cutAfter(marker: string): void;
  readonly cuts: number;
  close(): void;
}

export async function cuttingProxy(target: number): Promise<CuttingProxy> {
  let marker: string | null = null;
  let cuts = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    let marked = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
    }
    client.on('data', (bytes) => {
      if (marker !== null && bytes.includes(marker)) marked = true;
      upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      if (marked && marker !== null && bytes.includes(COMMITTED)) {
        marker = null;
        cuts++;
        client.destroy();
        upstream.destroy();
        return;
      }
      client.write(bytes);
    });
    client.on('end', () => upstream.end());
    upstream.on('end', () => client.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter: (text) => (marker = text),
    get cuts() {
      return cuts;
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
