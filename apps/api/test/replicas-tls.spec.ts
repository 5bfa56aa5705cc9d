// API processes whose gateways use TLS: the relay between them uses it too, with pinned certificates.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Authority } from '../../../test/certificates.js';
import { importBase, leaderOf, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker } from './scripted-worker.js';

let folder: string;
let a: TestApi;
let b: TestApi;
let c: TestApi;
let file: string;
let pools = 0;
const certificate = (name: string) => {
  const { cert, key } = new Authority(folder, `authority-${name}`).issue(`DNS:${name}.test`);
  return { grpcTlsCert: cert, grpcTlsKey: key };
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'graft-relay-tls-'));
  // Certificates of unknown authorities, for names that do not resolve.
  a = await startTestApi({ ...certificate('a'), reconcileMs: 300 });
  b = await startTestApi({ beside: a, ...certificate('b') });
  c = await startTestApi({ beside: a, ...certificate('c') });
  await importBase(a);
  file = await uploadChats(a);
}, 90_000);
afterAll(async () => {
  await c?.close();
  await b?.close();
  await a?.close();
  rmSync(folder, { recursive: true, force: true });
});

const at = (api: TestApi, pool: string) =>
  new ScriptedWorker({ grpcUrl: api.localGrpcUrl, joinToken: a.joinToken } as TestApi, {
    pool,
  }).connect();

const create = async (pool: string): Promise<string> => {
  const body = { model: 'tiny', training_file: file, graft: { pool } };
  return (await a.post<{ id: string }>('/fine_tuning/jobs', body)).id;
};

/** Returns a pool that the first process leads; retries, because any process may become the leader. */
async function ledByA(): Promise<string> {
  for (let n = 0; n < 50; n++) {
    const pool = `pool-${pools++}`;
    const first = await at(a, pool);
    const job = await create(pool);
    expect((await first.nextAssignment()).jobId).toBe(job);
    await a.post(`/fine_tuning/jobs/${job}/cancel`);
    first.vanish();
    if ((await leaderOf(a, pool)) === 0) return pool;
  }
  throw new Error('the first process leads nothing');
}

it('relays to a process whose certificate matches its row', async () => {
  const pool = await ledByA();
  const worker = await at(b, pool);
  const job = await create(pool);
  expect(await worker.nextAssignment()).toMatchObject({ jobId: job, attempt: 1 });
  worker.vanish();
});

it('does not relay to a process with another certificate', async () => {
  const pool = await ledByA();
  // As if another server listened at the address of c.
  await a.query(
    `UPDATE gateway SET certificate = (SELECT other.certificate FROM gateway other WHERE other.id <> gateway.id LIMIT 1)
     WHERE started_at = (SELECT max(started_at) FROM gateway)`,
  );
  // Longer than the interval at which each process reads the rows of the others.
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const worker = await at(c, pool);
  worker.pull(1);
  const job = await create(pool);
  await until(async () => {
    const rows = await a.query<{ outcome: string }>(
      'SELECT outcome FROM attempt WHERE job_id = $1',
      [job],
    );
    return rows.some(({ outcome }) => outcome === 'not_delivered');
  });
  expect(worker.assignments).toEqual([]);
  await a.post(`/fine_tuning/jobs/${job}/cancel`);
  worker.vanish();
}, 60_000);
