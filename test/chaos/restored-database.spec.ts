// The database is restored to an older state while workers run. State that it has lost is never accepted as
// current, and every job continues.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  importBase,
  startTestApi,
  until,
  uploadChats,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { saved, ScriptedWorker, started, step } from '../../apps/api/test/scripted-worker.js';

interface JobView {
  readonly status: string;
  readonly graft: { readonly attempts: readonly { number: number; outcome: string | null }[] };
}

/** Long, so that a slow machine does not look like a lost worker. */
const LEASE_MS = 60_000;
let api: TestApi;
let data: string;
let pool: string;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  api = await startTestApi({ embedded: true, leaseMs: LEASE_MS, reconcileMs: 200 });
  data = join(api.home, 'postgres', 'data');
  await importBase(api);
});
afterEach(() => {
  for (const worker of workers.splice(0)) worker.vanish();
});
afterAll(() => api?.close());

const create = async (): Promise<string> => {
  const training_file = await uploadChats(api);
  const body = { model: 'tiny', training_file, graft: { pool } };
  return (await api.post<{ id: string }>('/fine_tuning/jobs', body)).id;
};
const job = (id: string): Promise<JobView> => api.get(`/fine_tuning/jobs/${id}`);
async function join_(
  instance: string,
  leases: { jobId: string; attempt: number; step: number }[] = [],
) {
  const worker = await new ScriptedWorker(api, { pool, instance, leases }).connect();
  workers.push(worker);
  return worker;
}

/** Creates three jobs: one running with a checkpoint, one queued, one paused. */
async function three() {
  pool = `pool-${randomUUID().slice(0, 8)}`;
  const running = await create();
  const first = await join_('first');
  const lease = await first.nextAssignment();
  const state = await first.put(lease, 'state', `${running} at 1`);
  await first.report(lease, started(0, 9), step(1), saved(1, [state]));
  const queued = await create();
  const paused = await create();
  await api.post(`/fine_tuning/jobs/${paused}/pause`);
  return { running, queued, paused, lease, state };
}

/**
 * Checks that earlier attempts are rejected, and that all three jobs run again from the state in the
 * database.
 */
async function goesOn({
  running,
  queued,
  paused,
  lease,
  state,
}: Awaited<ReturnType<typeof three>>) {
  const attempts = await api.query<{ id: string; attempt: number }>(
    'SELECT id, attempt FROM job WHERE id = ANY($1)',
    [[running, queued, paused]],
  );
  for (const { attempt } of attempts) expect(attempt).toBeGreaterThanOrEqual(1000);
  const zombie = await join_('first', [
    { jobId: running, attempt: lease.attempt, step: 2 },
    { jobId: queued, attempt: 1, step: 2 },
  ]);
  await until(() => zombie.commands.length === 2, 60_000);
  expect(zombie.commands.map(({ action }) => action)).toEqual([3, 3]);
  for (const jobId of [running, queued])
    expect(
      (await zombie.batch([{ ...zombie.event({ jobId, attempt: 1 }, step(2, 99)), sequence: 50 }]))
        .stale,
    ).toHaveLength(1);
  await api.post(`/fine_tuning/jobs/${paused}/resume`);
  const heir = await join_('second');
  const taken = new Map<string, number>();
  for (let n = 0; n < 3; n++) {
    const next = await heir.nextAssignment();
    taken.set(next.jobId, next.attempt);
    if (next.jobId === running)
      expect(next).toMatchObject({ checkpointStep: 1, checkpoint: [state] });
    await heir.report(next, started(next.checkpointStep, 9));
    await heir.finish(next, 9);
    expect((await job(next.jobId)).status).toBe('succeeded');
  }
  expect([...taken.keys()].sort()).toEqual([running, queued, paused].sort());
  for (const attempt of taken.values()) expect(attempt).toBeGreaterThanOrEqual(1000);
  expect((await job(running)).graft.attempts[0]).toMatchObject({ outcome: 'database_restored' });
}

describe('a database', { timeout: 300_000 }, () => {
  it('assigns no attempt number twice after it was restored from an older copy', async () => {
    const known = await three();
    const copy = `${data}.copy`;
    await api.restart(async () => execFileSync('cp', ['-a', data, copy]));
    // A restart alone changes no attempt.
    expect((await job(known.running)).graft.attempts).toMatchObject([{ number: 1 }]);
    const [before] = await api.query<{ attempt: number }>('SELECT attempt FROM job WHERE id = $1', [
      known.queued,
    ]);
    expect(before?.attempt).toBe(0);
    // The copy does not contain this: the queued job was assigned, too.
    const lost = await join_('first', [{ jobId: known.running, attempt: 1, step: 1 }]);
    const late = await lost.nextAssignment();
    expect(late).toMatchObject({ jobId: known.queued, attempt: 1 });
    await lost.report(late, started(0, 9), step(1));
    await api.restart(async () => {
      renameSync(data, `${data}.lost`);
      renameSync(copy, data);
      rmSync(`${data}.lost`, { recursive: true });
    });
    await goesOn(known);
  });

  it('raises its attempt numbers after it was restored on another server', async () => {
    const known = await three();
    await api.restart(() => Promise.resolve());
    const [row] = await api.query<{ attempt: number }>('SELECT attempt FROM job WHERE id = $1', [
      known.running,
    ]);
    expect(row?.attempt).toBe(1);
    // Changed while the API runs, as after a failover.
    await api.query(`UPDATE installation SET system_identifier = '1'`);
    await until(async () => (await job(known.running)).graft.attempts[0]?.outcome !== null, 60_000);
    await goesOn(known);
  });
});
