// The PostgreSQL and the Redis that the specs share: at the usual ports, unless the run has started its own
// (tools/setup/services.mjs).
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';

export const POSTGRES_PORT = Number(process.env['GRAFT_TEST_POSTGRES_PORT'] ?? 5432);
export const POSTGRES = `postgres://postgres@127.0.0.1:${POSTGRES_PORT}`;
export const REDIS_PORT = Number(process.env['GRAFT_TEST_REDIS_PORT'] ?? 6379);
export const REDIS = `redis://127.0.0.1:${REDIS_PORT}`;

/** A new name for a database or a prefix of keys. When its run is killed, tools/test-run removes both by this name. */
export const uniqueName = (purpose: string): string =>
  `graft_test_${process.env['GRAFT_TEST_RUN'] ?? process.pid}_${purpose}_${randomBytes(5).toString('hex')}`;

/** A port of 127.0.0.1 at which nothing listens right now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
