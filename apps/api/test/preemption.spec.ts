import { Command_Action, type Assignment } from '@graft/contracts/grpc';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

interface JobView {
  readonly status: string;
  readonly graft: {
    readonly phase: { code: string };
    readonly attempts: readonly { number: number; outcome: string | null; from_step: number }[];
  };
}

const MIN_RUN_S = 300;

describe('a job of higher priority in a pool without a free slot', () => {
  let api: TestApi;
  let file: string;
  let pools = 0;
  let pool: string;
  let workers: ScriptedWorker[] = [];

  beforeAll(async () => {
    api = await startTestApi({
      leaseMs: 1500,
      reconcileMs: 200,
      retryBackoffMs: 50,
      minRunSeconds: MIN_RUN_S,
    });
    await importBase(api);
    file = await uploadChats(api);
  });
  afterAll(() => api?.close());
  beforeEach(() => {
    pool = `preempt-${pools++}`;
    workers = [];
  });
  afterEach(async () => {
    for (const worker of workers) worker.vanish();
    const open = await api.query<{ id: string }>(
      `SELECT id FROM job WHERE state IN ('queued', 'running', 'paused')`,
    );
    for (const { id } of open) await api.post(`/fine_tuning/jobs/${id}/cancel`);
  });

  const create = async (priority: number): Promise<string> =>
    (
      await api.post<{ id: string }>('/fine_tuning/jobs', {
        model: 'tiny',
        training_file: file,
        graft: { pool, priority },
      })
    ).id;
  const job = (id: string) => api.get<JobView>(`/fine_tuning/jobs/${id}`);
  const join = async (name = 'first') => {
    const worker = await new ScriptedWorker(api, { pool, name }).connect();
    workers.push(worker);
    return worker;
  };
  /** Starts a job that has trained for `seconds`. */
  async function running(worker: ScriptedWorker, priority: number, seconds = MIN_RUN_S + 1) {
    const id = await create(priority);
    const lease = await worker.nextAssignment();
    expect(lease.jobId).toBe(id);
    worker.keep(lease);
    await worker.report(lease, started(0, 20), step(1));
    await age(id, seconds);
    return lease;
  }
  const age = (id: string, seconds: number) =>
    api.query(
      `UPDATE attempt SET started_at = clock_timestamp() - $2 * interval '1 second' WHERE job_id = $1`,
      [id, seconds],
    );
  const preempts = (worker: ScriptedWorker, { jobId }: Pick<Assignment, 'jobId'>) =>
    worker.commands.filter(
      (command) => command.jobId === jobId && command.action === Command_Action.ACTION_PREEMPT,
    ).length;
  const marked = async () =>
    (
      await api.query<{ id: string }>(
        `SELECT id FROM job WHERE pool = $1 AND state = 'running' AND preempting_at IS NOT NULL`,
        [pool],
      )
    ).map(({ id }) => id);
  /** Longer than several rounds of the dispatcher. */
  const severalRounds = () => new Promise((resolve) => setTimeout(resolve, 3_500));
  /** Stops as a worker does on a preempt command. */
  const handBack = async (worker: ScriptedWorker, lease: Assignment, at: number) => {
    const state = await worker.put(lease, 'state', `${lease.jobId} at ${at}`);
    await worker.report(lease, saved(at, [state]), {
      kind: 'stopped',
      payload: { reason: 'preempt', step: at },
    });
  };

  it('gets the slot of a job that has run its minimum, which later resumes from its checkpoint', async () => {
    const worker = await join();
    const victim = await running(worker, 100, MIN_RUN_S - 60);
    const urgent = await create(50);
    await severalRounds();
    expect(preempts(worker, victim)).toBe(0);
    await age(victim.jobId, MIN_RUN_S + 1);
    // The command is sent immediately and with each heartbeat until the job stops.
    await until(() => preempts(worker, victim) >= 3);
    expect((await job(victim.jobId)).graft.phase.code).toBe('preempting');
    await worker.report(victim, step(2));
    expect((await job(victim.jobId)).graft.phase.code).toBe('preempting');
    await handBack(worker, victim, 2);
    expect(await job(victim.jobId)).toMatchObject({
      status: 'queued',
      graft: { attempts: [{ number: 1, outcome: 'preempted' }] },
    });
    const first = await worker.nextAssignment();
    expect(first.jobId).toBe(urgent);
    await worker.report(first, started(0, 2), step(1), step(2));
    await worker.finish(first, 2);
    const again = await worker.nextAssignment();
    expect(again).toMatchObject({ jobId: victim.jobId, checkpointStep: 2 });
    await worker.report(again, started(2, 20), step(3));
    expect(
      await api.query('SELECT crash_count, infra_count, preempted FROM job WHERE id = $1', [
        victim.jobId,
      ]),
    ).toEqual([{ crash_count: 0, infra_count: 0, preempted: 1 }]);
  });

  it('takes only as many slots as it needs, of the lowest priority, and none of equal priority', async () => {
    const [one, two] = [await join('one'), await join('two')];
    const equal = await running(one, 50);
    const low = await running(two, 100);
    const lowest = await running(one, 900);
    const lower = await running(two, 200);
    const urgent = await create(50);
    await until(() => preempts(one, lowest) > 0);
    await severalRounds();
    expect(await marked()).toEqual([lowest.jobId]);
    // A second job needs a second slot.
    await create(150);
    await until(async () => (await marked()).length === 2);
    await severalRounds();
    expect(new Set(await marked())).toEqual(new Set([lowest.jobId, lower.jobId]));
    expect([preempts(one, equal), preempts(two, low)]).toEqual([0, 0]);
    await handBack(one, lowest, 1);
    expect((await one.nextAssignment()).jobId).toBe(urgent);
  });

  it('preempts no job while a slot is free, or while its project may not run more', async () => {
    const worker = await join();
    const victim = await running(worker, 100);
    worker.pull(1);
    await until(
      async () =>
        (await api.query('SELECT 1 FROM worker WHERE pool = $1 AND free_slots = 1', [pool]))
          .length === 1,
    );
    const { project } = await api.get<{ project: { id: string } }>('/keys/me');
    const limit = (most: number | null) =>
      api.post(`/organization/projects/${project.id}`, {
        graft: { limits: { running_jobs: most } },
      });
    await limit(1);
    await create(50);
    await severalRounds();
    expect(await marked()).toEqual([]);
    expect(worker.assignments).toHaveLength(1);
    await limit(null);
    // Now it gets the free slot.
    await until(() => worker.assignments.length === 2);
    worker.keep(worker.assignments[1] as Assignment);
    await severalRounds();
    expect(preempts(worker, victim)).toBe(0);
  });

  it('needs no preemption if the victim ends, is cancelled or is lost with its worker', async () => {
    const worker = await join();
    const other = await running(worker, 90);
    const finishing = await running(worker, 100);
    const urgent = await create(10);
    await until(() => preempts(worker, finishing) > 0);
    await worker.finish(finishing, 20);
    expect((await job(finishing.jobId)).status).toBe('succeeded');
    const first = await worker.nextAssignment();
    expect(first.jobId).toBe(urgent);
    await worker.report(first, started(0, 2), step(1), step(2));
    await worker.finish(first, 2);
    const cancelled = await running(worker, 100);
    const second = await create(10);
    await until(() => preempts(worker, cancelled) > 0);
    await api.post(`/fine_tuning/jobs/${cancelled.jobId}/cancel`);
    const kept = await worker.nextAssignment();
    expect(kept.jobId).toBe(second);
    worker.keep(kept);
    await severalRounds();
    expect(preempts(worker, other)).toBe(0);
    await create(10);
    await until(() => preempts(worker, other) > 0);
    worker.vanish();
    await until(async () => (await job(other.jobId)).status === 'queued', 30_000);
    expect((await job(other.jobId)).graft.attempts.at(-1)?.outcome).toBe('lost_worker');
    expect(
      await api.query('SELECT preempting_at, preempted FROM job WHERE id = $1', [other.jobId]),
    ).toEqual([{ preempting_at: null, preempted: 0 }]);
  });

  it('leaves the victim paused if its owner pauses it meanwhile', async () => {
    const worker = await join();
    const victim = await running(worker, 100);
    const urgent = await create(50);
    await until(() => preempts(worker, victim) > 0);
    await api.post(`/fine_tuning/jobs/${victim.jobId}/pause`);
    await handBack(worker, victim, 1);
    expect((await job(victim.jobId)).status).toBe('paused');
    expect((await worker.nextAssignment()).jobId).toBe(urgent);
  });

  it('cannot take the slot of a job that was preempted three times in a row', async () => {
    const worker = await join();
    let victim = await running(worker, 100);
    for (let n = 1; n <= 3; n++) {
      await create(50);
      await until(() => preempts(worker, victim) > 0);
      await handBack(worker, victim, n);
      const urgent = await worker.nextAssignment();
      await worker.report(urgent, started(0, 2), step(1), step(2));
      await worker.finish(urgent, 2);
      worker.commands.length = 0;
      const again = await worker.nextAssignment();
      expect(again.jobId).toBe(victim.jobId);
      victim = again;
      worker.keep(victim);
      await worker.report(victim, started(n, 20), step(n + 1));
      await age(victim.jobId, MIN_RUN_S + 1);
    }
    await create(50);
    await severalRounds();
    expect(preempts(worker, victim)).toBe(0);
    expect((await job(victim.jobId)).status).toBe('running');
  });
});
