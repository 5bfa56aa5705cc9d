import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

// Queue position and estimated start of waiting jobs, compared with the actual starts on a worker with one
// slot.

const JOB_MS = 2_000;

describe('queue position and estimated start of waiting jobs', () => {
  let api: TestApi;
  let file: string;
  beforeAll(async () => {
    api = await startTestApi();
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(() => api?.close());

  const create = async (pool: string, priority = 100): Promise<JobObject> =>
    api.post<JobObject>('/fine_tuning/jobs', {
      model: 'tiny',
      training_file: file,
      graft: { pool, priority },
    });
  const job = (id: string) => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
  const list = async () =>
    (await api.get<{ data: JobObject[] }>('/fine_tuning/jobs?limit=100')).data;

  /** Connects a worker that trains one job after another, each for JOB_MS or until mayEnd returns true. */
  async function trainer(pool: string, mayEnd: (jobs: number) => boolean) {
    const worker = await new ScriptedWorker(api, { pool }).connect();
    const order: string[] = [];
    let over = false;
    const work = (async () => {
      while (!over) {
        const lease = await worker.nextAssignment(600_000).catch(() => null);
        if (!lease) return;
        order.push(lease.jobId);
        worker.keep(lease);
        await worker.report(lease, started(0, 2), step(1), step(2));
        await new Promise((resolve) => setTimeout(resolve, JOB_MS));
        await until(() => over || mayEnd(order.length), 120_000);
        await worker.finish(lease, 2);
      }
    })().catch(() => undefined);
    return {
      order,
      stop: async () => {
        over = true;
        worker.vanish();
        await Promise.race([work, new Promise((resolve) => setTimeout(resolve, 100))]);
      },
    };
  }

  it('match what happens: the exact order, and the starts within their ranges', async () => {
    const pool = 'forecast';
    const first = await create(pool);
    expect(first.graft).toMatchObject({ queue_position: 1, queue_length: 1 });
    // No job has run, so the duration is unknown, and no worker is connected.
    expect(first.graft).toMatchObject({ estimated_start: null, estimated_start_range: null });
    let listed = false;
    const { order, stop } = await trainer(pool, (jobs) => jobs !== 2 || listed);
    await until(async () => (await job(first.id)).status === 'succeeded', 60_000);
    expect((await job(first.id)).graft).toMatchObject({
      queue_position: null,
      queue_length: null,
      estimated_start: null,
    });

    const made: JobObject[] = [];
    await create(pool);
    await until(() => order.length === 2);
    for (const priority of [100, 7, 100, 50, 100]) made.push(await create(pool, priority));
    // The estimate that includes the running job.
    let waiting: JobObject[] = [];
    await until(async () => {
      waiting = (await list()).filter((one) => one.graft.queue_length === 5);
      return waiting.length === 5;
    }, 60_000);
    listed = true;
    const ordered = waiting.sort(
      (a, b) => (a.graft.queue_position ?? 0) - (b.graft.queue_position ?? 0),
    );
    expect(ordered.map((one) => one.graft.queue_position)).toEqual([1, 2, 3, 4, 5]);
    expect(ordered[0]?.id).toBe(made[1]?.id);
    for (const { graft } of ordered) {
      const [earliest, latest] = graft.estimated_start_range ?? [0, 0];
      expect(earliest).toBeLessThanOrEqual(graft.estimated_start ?? 0);
      expect(latest).toBeGreaterThanOrEqual(graft.estimated_start ?? 0);
    }
    // Each waits for one job more than the previous one.
    const times = ordered.map((one) => one.graft.estimated_start ?? 0);
    for (let n = 1; n < times.length; n++)
      expect((times[n] ?? 0) - (times[n - 1] ?? 0)).toBeGreaterThanOrEqual(1);

    await until(async () => (await job(ordered[4]?.id ?? '')).status === 'succeeded', 120_000);
    expect(order.slice(2)).toEqual(ordered.map(({ id }) => id));
    for (const { id, graft } of ordered) {
      const startedAt = (await job(id)).graft.started_at ?? 0;
      const [earliest, latest] = graft.estimated_start_range ?? [0, 0];
      // The API returns whole seconds.
      expect(startedAt).toBeGreaterThanOrEqual(earliest - 1);
      expect(startedAt).toBeLessThanOrEqual(latest + 1);
    }
    await stop();
  }, 180_000);
});
