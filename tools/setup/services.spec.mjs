import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { startServices } from './services.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { Client } = createRequire(join(ROOT, 'apps/api/package.json'))('pg');

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

it('starts a PostgreSQL that trusts this machine, and ends it; leaves alone what runs', async () => {
  const postgresPort = await freePort();
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const stop = await startServices(ROOT, { postgresPort, redisPort: other.address().port });
  const client = new Client({
    connectionString: `postgres://postgres@127.0.0.1:${postgresPort}/postgres`,
  });
  await client.connect();
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await client.end();
  await stop();
  const again = new Client({
    connectionString: `postgres://postgres@127.0.0.1:${postgresPort}/postgres`,
  });
  await expect(again.connect()).rejects.toThrow('ECONNREFUSED');
  expect(other.listening).toBe(true);
  other.close();
}, 60_000);
