import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SERVICES, startServices } from './services.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { Client } = createRequire(join(ROOT, 'apps/api/package.json'))('pg');

let run;
/** Only PostgreSQL, with a variable other than the one of this test run. */
let postgres;
beforeEach(() => {
  run = { dir: mkdtempSync(join(tmpdir(), 'graft-services-')), env: {} };
  chmodSync(run.dir, 0o755);
  const [service] = SERVICES;
  postgres = { ...service, variable: 'GRAFT_TEST_ANOTHER_PORT' };
});
afterEach(() => {
  delete process.env['GRAFT_TEST_ANOTHER_PORT'];
  rmSync(run.dir, { recursive: true, force: true });
});

const client = (port) =>
  new Client({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` });

async function answers(port) {
  const one = client(port);
  await one.connect();
  const { rows } = await one.query('SELECT 1 AS one');
  await one.end();
  return rows;
}

it('starts and stops a separate PostgreSQL for each of two runs', async () => {
  const [first, second] = await Promise.all([
    startServices(ROOT, run, [postgres]),
    startServices(ROOT, run, [postgres]),
  ]);
  const [one, two] = [first, second].map(({ env }) => Number(env['GRAFT_TEST_ANOTHER_PORT']));
  expect(await answers(one)).toEqual([{ one: 1 }]);
  await first.stop();
  await expect(client(one).connect()).rejects.toThrow('ECONNREFUSED');
  expect(await answers(two)).toEqual([{ one: 1 }]);
  await second.stop();
  expect(readdirSync(run.dir)).toEqual([]);
}, 60_000);

it('starts no server if the environment has its port, and continues if one cannot be started', async () => {
  process.env['GRAFT_TEST_ANOTHER_PORT'] = '1';
  expect((await startServices(ROOT, run, [postgres])).env).toEqual({});
  delete process.env['GRAFT_TEST_ANOTHER_PORT'];
  const broken = { ...postgres, start: () => Promise.reject(new Error('no disk')) };
  expect((await startServices(ROOT, run, [broken])).env).toEqual({});
});
