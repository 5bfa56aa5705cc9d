import type { JobObject, PoolObject, WorkerObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject } from './projects.js';
import { ScriptedWorker } from './scripted-worker.js';

// Pools and workers for autoscalers and administrators: state, cordon, drain and removal.

let api: TestApi;
let file: string;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 2_000, reconcileMs: 300 });
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(async () => {
  for (const worker of workers) worker.vanish();
  await api?.close();
});

let jobs = 0;
const submit = async (pool: string): Promise<string> =>
  (
    await api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      metadata: { n: String(++jobs) },
      graft: { pool },
    })
  ).id;
const join = async (
  pool: string,
  more: ConstructorParameters<typeof ScriptedWorker>[1] = {},
): Promise<ScriptedWorker> => {
  const worker = await new ScriptedWorker(api, { pool, ...more }).connect();
  workers.push(worker);
  return worker;
};
const id = (worker: ScriptedWorker): string => worker.welcome!.workerId;
const shown = async (worker: ScriptedWorker): Promise<WorkerObject> =>
  (await api.get<{ data: WorkerObject[] }>('/workers')).data.find((one) => one.id === id(worker))!;
const pool = (name: string) => api.get<PoolObject>(`/pools/${name}`);
/** Longer than several rounds of the dispatcher, which runs every second. */
const severalRounds = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2_500));

it('reports the queue of a pool, its waiting times, and the slots of its workers', async () => {
  const worker = await join('busy', { slots: 3 });
  const running = await submit('busy');
  const assignment = await worker.nextAssignment();
  expect(assignment.jobId).toBe(running);
  worker.keep(assignment);
  const waiting = [await submit('busy'), await submit('busy'), await submit('busy')];
  for (const [n, job] of waiting.entries())
    await api.query(
      `UPDATE job SET queued_at = clock_timestamp() - $2 * interval '1 second' WHERE id = $1`,
      [job, [10, 100, 1000][n]],
    );
  const found = await pool('busy');
  expect(found).toMatchObject({
    id: 'busy',
    cordoned: false,
    queued: 3,
    running: 1,
    workers: { online: 1, draining: 0, cordoned: 0, offline: 0 },
    slots: 3,
    free_slots: 0,
  });
  expect(Math.abs(found.longest_wait! - 1000)).toBeLessThan(60);
  expect(Math.abs(found.median_wait! - 100)).toBeLessThan(60);
  const { viewer } = await makeProject(api, 'looker');
  const theirs = JSON.parse((await ask(api, viewer.key, 'get', '/v1/pools/busy')).text) as object;
  expect(theirs).toMatchObject({ queued: 3, running: 1, slots: 3 });
  expect(theirs).not.toHaveProperty('grants');
  const metrics = await (await fetch(`${api.url}/metrics`, { headers: api.headers })).text();
  for (const line of [
    'graft_queue_depth{pool="busy"} 3',
    'graft_pool_workers{pool="busy",state="online"} 1',
    'graft_pool_slots{pool="busy"} 3',
    'graft_pool_free_slots{pool="busy"} 0',
    'graft_pool_wanted_slots{pool="busy"} 4',
  ])
    expect(metrics).toContain(`${line}\n`);
  expect(
    Number(/graft_queue_wait_seconds\{pool="busy"\} ([\d.]+)/.exec(metrics)![1]),
  ).toBeGreaterThan(900);
});

it('counts a wait from when the job was last queued', async () => {
  const job = await submit('resumed');
  await api.post(`/pools/resumed/grants`, { project_id: 'proj-default' });
  await api.post(`/fine_tuning/jobs/${job}/pause`);
  await api.query(`UPDATE job SET queued_at = now() - interval '1 day' WHERE id = $1`, [job]);
  await api.post(`/fine_tuning/jobs/${job}/resume`);
  expect((await pool('resumed')).longest_wait).toBeLessThan(600);
});

it('samples the load of pools every minute', async () => {
  await join('noted');
  await until(async () => {
    await api.query(`DELETE FROM pool_sample WHERE pool <> 'old'`);
    return (await pool('noted')).slots === 2;
  });
  await api.query(
    `INSERT INTO pool_sample SELECT 'noted', now() - n * interval '1 minute', n, 1, 2, 1 FROM unnest(ARRAY[20, 90]) AS n`,
  );
  await api.query(`INSERT INTO pool_sample VALUES ('old', now() - interval '8 days', 1, 1, 1, 1)`);
  await until(async () => (await pool('noted')).load!.length === 2);
  const { load } = await pool('noted');
  expect(load![0]).toMatchObject({ queued: 20, running: 1, slots: 2, free_slots: 1 });
  expect(load![1]).toMatchObject({ queued: 0, running: 0, slots: 2, free_slots: 0 });
  expect(load![1]!.at % 60).toBe(0);
  await until(
    async () => (await api.query(`SELECT 1 FROM pool_sample WHERE pool = 'old'`)).length === 0,
  );
});

it('assigns nothing to a cordoned worker, whose jobs continue', async () => {
  const worker = await join('held');
  const first = await submit('held');
  const assignment = await worker.nextAssignment();
  worker.keep(assignment);
  expect(assignment.jobId).toBe(first);
  await api.post(`/workers/${id(worker)}/cordon`);
  expect(await shown(worker)).toMatchObject({ cordoned: true, cordon_reason: null });
  expect(await pool('held')).toMatchObject({ workers: { online: 0, cordoned: 1 }, slots: 0 });
  worker.pull();
  const second = await submit('held');
  await severalRounds();
  expect(worker.assignments.map(({ jobId }) => jobId)).toEqual([first]);
  expect(worker.ended).toBeNull();
  await api.query(`UPDATE worker SET cordon_reason = 'looks broken' WHERE id = $1`, [id(worker)]);
  await api.post(`/workers/${id(worker)}/uncordon`);
  await until(() => worker.assignments[1]?.jobId === second);
  expect(await shown(worker)).toMatchObject({ cordoned: false, cordon_reason: null });
  const [{ uncordoned }] = (await api.query(
    `SELECT uncordoned_at > now() - interval '1 minute' AS uncordoned FROM worker WHERE id = $1`,
    [id(worker)],
  )) as [{ uncordoned: boolean }];
  expect(uncordoned).toBe(true);
});

it('assigns nothing in a cordoned pool, even to workers that join later', async () => {
  await join('shut');
  await api.post('/pools/shut/cordon');
  const job = await submit('shut');
  const late = await join('shut');
  late.pull();
  await severalRounds();
  expect(late.assignments).toEqual([]);
  expect(await pool('shut')).toMatchObject({ cordoned: true, queued: 1, slots: 0, free_slots: 0 });
  await api.post('/pools/shut/uncordon');
  await until(() => late.assignments[0]?.jobId === job);
});

it('sends a drain command to a worker until it drains, and assigns it nothing', async () => {
  const instance = 'drained-instance';
  const worker = await join('leaving', { instance });
  worker.pull();
  await until(async () => (await shown(worker)).free_slots > 0);
  expect(await api.post(`/workers/${id(worker)}/drain`)).toMatchObject({
    state: 'draining',
    free_slots: 0,
  });
  // The command is repeated with each heartbeat because it may be lost.
  await until(() => worker.drains.length >= 3);
  await submit('leaving');
  worker.pull();
  await severalRounds();
  expect(worker.assignments).toEqual([]);
  expect((await shown(worker)).state).toBe('draining');
  expect((await pool('leaving')).workers).toMatchObject({ online: 0, draining: 1 });
  // The same process must still drain after it reconnects.
  worker.vanish();
  const again = await join('leaving', { instance, key: worker.welcome!.workerKey! });
  expect(id(again)).toBe(id(worker));
  expect((await shown(again)).state).toBe('draining');
  again.pull();
  await until(() => again.drains.length > 0);
  expect(again.assignments).toEqual([]);
  // A draining worker does not get the command again.
  again.send({ $case: 'draining', value: { reason: 'requested' } });
  await again.heartbeat([]);
  const drains = again.drains.length;
  await again.heartbeat([]);
  await again.heartbeat([]);
  expect(again.drains.length).toBe(drains);
  again.vanish();
  // The next process of the same worker is online.
  const next = await join('leaving', { key: worker.welcome!.workerKey! });
  expect(id(next)).toBe(id(worker));
  await next.nextAssignment();
  expect(await shown(next)).toMatchObject({ state: 'online', cordoned: false });
  await next.heartbeat([]);
  expect(next.drains).toEqual([]);
});

it('sends a drain command to a worker of another API process', async () => {
  const beside = await startTestApi({ beside: api });
  try {
    const worker = await new ScriptedWorker(beside, { pool: 'elsewhere' }).connect();
    workers.push(worker);
    await api.post(`/workers/${id(worker)}/drain`);
    await until(() => worker.drains.length > 0);
  } finally {
    await beside.close();
  }
});

it('removes workers that are offline without jobs, and no others', async () => {
  const worker = await join('gone');
  await submit('gone');
  const assignment = await worker.nextAssignment();
  const remove = async () => {
    const { status, text } = await ask(api, api.apiKey, 'delete', `/v1/workers/${id(worker)}`);
    return [status, (JSON.parse(text) as { error?: { message: string } }).error?.message ?? text];
  };
  expect(await remove()).toEqual([409, expect.stringContaining('is online: drain or stop it')]);
  worker.vanish();
  await until(async () => (await shown(worker)).state === 'offline');
  // It may reconnect and continue its job.
  await api.query(`UPDATE job SET lease_until = now() + interval '1 hour' WHERE id = $1`, [
    assignment.jobId,
  ]);
  await api.query(`UPDATE job SET state = 'running', lease_owner = $2 WHERE id = $1`, [
    assignment.jobId,
    id(worker),
  ]);
  expect(await remove()).toEqual([409, expect.stringContaining(assignment.jobId)]);
  expect((await ask(api, api.apiKey, 'post', `/v1/workers/${id(worker)}/drain`)).status).toBe(409);
  await api.query(`UPDATE job SET state = 'queued', lease_owner = NULL WHERE id = $1`, [
    assignment.jobId,
  ]);
  expect((await remove())[0]).toBe(200);
  expect(await shown(worker)).toBeUndefined();
  expect((await remove())[0]).toBe(404);
});
