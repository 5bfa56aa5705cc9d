import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startServices } from './services.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { Client } = createRequire(join(ROOT, 'apps/api/package.json'))('pg');

let other;
let run;
beforeEach(async () => {
  other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  run = { dir: mkdtempSync(join(tmpdir(), 'graft-services-')), env: {} };
  chmodSync(run.dir, 0o755);
});
afterEach(() => {
  other.close();
  rmSync(run.dir, { recursive: true, force: true });
});

const FREE = 1; // nothing listens there
const client = (port) =>
  new Client({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` });

async function answers(port) {
  const one = client(port);
  await one.connect();
  const { rows } = await one.query('SELECT 1 AS one');
  await one.end();
  return rows;
}

it('starts PostgreSQL for each of two runs, and leaves what listens alone', async () => {
  const usual = { PostgreSQL: FREE, Redis: other.address().port };
  const [first, second] = await Promise.all([
    startServices(ROOT, run, usual),
    startServices(ROOT, run, usual),
  ]);
  const [one, two] = [first, second].map(({ env }) => {
    expect(Object.keys(env)).toEqual(['GRAFT_TEST_POSTGRES_PORT']);
    return Number(env['GRAFT_TEST_POSTGRES_PORT']);
  });
  expect(await answers(one)).toEqual([{ one: 1 }]);
  await first.stop();
  await expect(client(one).connect()).rejects.toThrow('ECONNREFUSED');
  expect(await answers(two)).toEqual([{ one: 1 }]);
  await second.stop();
  expect(other.listening).toBe(true);
  expect(readdirSync(run.dir)).toEqual([]);
}, 60_000);
