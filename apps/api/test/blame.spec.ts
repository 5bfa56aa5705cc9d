// How the death of a trainer process counts against the jobs that ran in it.
import type { JobObject, Page, WorkerObject } from '@graft/contracts';
import type { Blame } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import OpenAI from 'openai';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { caught, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { clientOf, makeProject } from './projects.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
let file: string;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi({ reconcileMs: 200, retryBackoffMs: 20 });
  await importBase(api);
  file = await uploadChats(api);
});
afterAll(() => api?.close());

const job = (id: string): Promise<JobObject> => api.get(`/fine_tuning/jobs/${id}`);

async function create(pool: string): Promise<string> {
  const body = { model: 'tiny', training_file: file, graft: { pool } };
  return (await api.post<JobObject>('/fine_tuning/jobs', body)).id;
}

async function scene(slots = 2) {
  const pool = `pool-${pools++}`;
  const id = await create(pool);
  const worker = await new ScriptedWorker(api, { pool, slots }).connect();
  return { id, pool, worker };
}

const died = (blame: Blame | undefined, code = 'crash', process = 'process-1') =>
  ({
    kind: 'failed',
    payload: {
      code,
      message: 'the trainer was terminated by SIGSEGV',
      param: '',
      retryable: false,
      stderr_tail: '',
      blame,
      process,
    },
  }) as const;

const startedIn = (process: string) => {
  const fact = started();
  if (fact.kind !== 'started') throw new Error('not a start');
  return { ...fact, payload: { ...fact.payload, process } };
};

interface Budgets {
  readonly crash_count: number;
  readonly infra_count: number;
  readonly present_at_deaths: number;
}

async function budgets(id: string): Promise<Budgets | undefined> {
  const [row] = await api.query<Budgets>(
    'SELECT crash_count, infra_count, present_at_deaths FROM job WHERE id = $1',
    [id],
  );
  return row;
}

const messages = async (id: string): Promise<string[]> =>
  (await api.get<Page<{ message: string }>>(`/fine_tuning/jobs/${id}/events?limit=100`)).data.map(
    ({ message }) => message,
  );

describe('a process death caused by another job', () => {
  it('never counts against a job, however often and of whatever kind', async () => {
    const { id, worker } = await scene();
    const kinds = ['crash', 'oom_gpu', 'oom_host', 'hang', 'disk_full'];
    for (let n = 0; n < 25; n++) {
      const fact = died('other', kinds[n % kinds.length]);
      const message = 'another job crashed the trainer process that it shared with this job';
      const displaced = { ...fact, payload: { ...fact.payload, message } };
      await worker.report(await worker.nextAssignment(), startedIn('process-1'), displaced);
    }
    expect(await budgets(id)).toEqual({ crash_count: 0, infra_count: 0, present_at_deaths: 0 });
    const { status, graft } = await job(id);
    expect(status).toBe('queued');
    expect(graft.attempts.map(({ outcome }) => outcome)).toEqual(Array(25).fill('displaced'));
    expect(graft.alone).toBe(false);
    expect(await messages(id)).toContain(
      'another job crashed the trainer process that it shared with this job; resuming from the last checkpoint',
    );
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });
});

describe('a process death of unclear cause', () => {
  it('does not count twice; then the job runs alone and its own deaths count', async () => {
    const { id, worker } = await scene();
    for (let n = 0; n < 2; n++) {
      const assignment = await worker.nextAssignment();
      expect(assignment.alone).toBeUndefined();
      await worker.report(assignment, startedIn('p'), died('shared', 'oom_host'));
    }
    expect(await budgets(id)).toEqual({ crash_count: 0, infra_count: 0, present_at_deaths: 2 });
    expect((await job(id)).graft.alone).toBe(true);
    expect((await messages(id))[0]).toContain(', in a trainer process of its own');
    for (let n = 0; n < 2; n++) {
      const assignment = await worker.nextAssignment();
      expect(assignment.alone).toBe(true);
      await worker.report(assignment, startedIn('own'), died('own', 'oom_host'));
    }
    expect(await job(id)).toMatchObject({ status: 'failed', error: { code: 'oom_host' } });
    worker.vanish();
  });

  it('no longer counts after a checkpoint', async () => {
    const { id, worker } = await scene();
    let assignment: Assignment;
    for (let n = 0; n < 2; n++) {
      assignment = await worker.nextAssignment();
      await worker.report(assignment, startedIn('p'), died('shared'));
    }
    assignment = await worker.nextAssignment();
    expect(assignment.alone).toBe(true);
    const state = await worker.put(assignment, 'state', 'progress');
    await worker.report(assignment, startedIn('own'), step(1), saved(1, [state]));
    expect((await job(id)).graft.alone).toBe(false);
    await worker.report(assignment, died('other'));
    expect((await worker.nextAssignment()).alone).toBeUndefined();
    expect(await budgets(id)).toEqual({ crash_count: 0, infra_count: 0, present_at_deaths: 0 });
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    worker.vanish();
  });

  it('caused by the job itself counts immediately, and the job runs alone after the second', async () => {
    const { id, worker } = await scene();
    for (const alone of [undefined, undefined, true]) {
      const assignment = await worker.nextAssignment();
      expect(assignment.alone).toBe(alone);
      await worker.report(assignment, startedIn('p'), died('own'));
    }
    expect(await job(id)).toMatchObject({ status: 'failed', error: { code: 'crash' } });
    worker.vanish();
  });
});

it('an answer that crashed its process is reported once, without a retry by the client', async () => {
  const pool = `pool-${pools++}`;
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const { baseURL, apiKey } = api.client;
  const answer = new OpenAI({ baseURL, apiKey, maxRetries: 2 }).chat.completions.create({
    model: 'tiny',
    messages: [{ role: 'user', content: 'poison' }],
  });
  const { id } = await worker.nextRequest();
  worker.sendText(id, '', 'error', 'crash');
  expect(await caught(answer)).toMatchObject({ status: 500, code: 'crash' });
  expect(worker.requests).toHaveLength(1);
  worker.vanish();
});

it('a job shows which jobs share its process, and how long it waited for them', async () => {
  const { id, pool, worker } = await scene(4);
  const others = [await create(pool), await create(pool), await create(pool)];
  const [mate = '', stranger = '', apart = ''] = others;
  expect((await job(id)).graft).toMatchObject({ shares_with: null, process: null });
  for (let n = 1; n <= 4; n++) {
    if (worker.assignments.length < n) worker.pull();
    await until(() => worker.assignments.length >= n);
  }
  for (const assignment of worker.assignments) worker.keep(assignment);
  await api.query(`INSERT INTO project (id, name) VALUES ('proj-strange', 'strange')`);
  await api.query(`UPDATE job SET project_id = 'proj-strange' WHERE id = $1`, [stranger]);
  const waited = (number: number, seconds: number) => {
    const fact = step(number);
    if (fact.kind !== 'step') throw new Error('not a step');
    return { ...fact, payload: { ...fact.payload, waited_seconds: seconds } };
  };
  for (const assignment of worker.assignments)
    await worker.report(
      assignment,
      startedIn(assignment.jobId === apart ? 'process-2' : 'process-1'),
      waited(1, 0.5),
      waited(2, 1.25),
    );
  expect((await job(id)).graft).toMatchObject({
    process: 'process-1',
    shares_with: { jobs: [mate], others: 1 },
    waited_seconds: 1.8,
  });
  expect((await job(apart)).graft.shares_with).toEqual({ jobs: [], others: 0 });
  await api.post(`/fine_tuning/jobs/${mate}/cancel`);
  expect((await job(id)).graft.shares_with).toEqual({ jobs: [], others: 1 });
  worker.vanish();
});

describe('a worker on which several jobs die', () => {
  const workers = async (pool: string): Promise<WorkerObject[]> =>
    (await api.get<Page<WorkerObject>>('/workers')).data.filter((one) => one.pool === pool);

  const cordoned = async (pool: string): Promise<string[]> =>
    (await workers(pool)).filter((one) => one.cordoned).map(({ name }) => name);

  /** Assigns a new job to the worker and reports the death of its process. */
  async function kill(worker: ScriptedWorker, pool: string, blame: Blame = 'own'): Promise<string> {
    const id = await create(pool);
    const assignment = await worker.nextAssignment();
    expect(assignment.jobId).toBe(id);
    await worker.report(assignment, startedIn('p'), died(blame, 'oom_heap'));
    return id;
  }

  it('is cordoned at the third one, with the reason', async () => {
    const pool = `lemons-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, name: 'lemon' }).connect();
    const other = await new ScriptedWorker(api, { pool, name: 'good' }).connect();
    for (let n = 0; n < 2; n++) await kill(worker, pool);
    for (let n = 0; n < 3; n++) {
      const id = await kill(worker, pool, 'other');
      await api.post(`/fine_tuning/jobs/${id}/cancel`);
    }
    expect(await cordoned(pool)).toEqual([]);
    await kill(worker, pool);
    expect(await cordoned(pool)).toEqual(['lemon']);
    const [lemon] = (await workers(pool)).filter((one) => one.cordoned);
    expect(lemon?.cordon_reason).toContain('trainer processes of 3 jobs died on this worker');
    const metrics = await fetch(`${api.url}/metrics`, { headers: api.headers });
    expect(await metrics.text()).toMatch(/^graft_workers_cordoned_total 1$/m);
    // After an uncordon, counting starts from zero.
    await api.query(
      `UPDATE worker SET cordoned = false, uncordoned_at = clock_timestamp() WHERE name = 'lemon'`,
    );
    await kill(worker, pool);
    expect(await cordoned(pool)).toEqual([]);
    for (const one of [worker, other]) one.vanish();
  });

  it('is not cordoned if it is the last one in its pool', async () => {
    const pool = `lemons-${pools++}`;
    const worker = await new ScriptedWorker(api, { pool, name: 'only' }).connect();
    for (let n = 0; n < 4; n++) await kill(worker, pool);
    expect(await cordoned(pool)).toEqual([]);
    worker.vanish();
  });

  it('is cordoned once if two look broken at the same moment', async () => {
    const pool = `lemons-${pools++}`;
    const both = [
      await new ScriptedWorker(api, { pool, name: 'left' }).connect(),
      await new ScriptedWorker(api, { pool, name: 'right' }).connect(),
    ];
    // Use two projects, because the ends of one project's jobs wait for each other.
    const { member } = await makeProject(api, 'beside');
    const client = clientOf(api, member.key);
    const theirs = await uploadChats({ ...api, client } as TestApi);
    // Two deaths each; then both are busy when the third death is reported on each.
    const busy = async (): Promise<Assignment[]> => {
      await create(pool);
      const body = { model: 'tiny', training_file: theirs, graft: { pool } };
      await client.fineTuning.jobs.create(body as never);
      return Promise.all(both.map((worker) => worker.nextAssignment()));
    };
    const end = (worker: ScriptedWorker, assignment: Assignment) =>
      worker.report(assignment, startedIn('p'), died('own', 'oom_heap'));
    for (let n = 0; n < 2; n++) {
      const assignments = await busy();
      for (const [at, worker] of both.entries()) await end(worker, assignments[at]!);
    }
    const assignments = await busy();
    const holder = new pg.Client({ connectionString: api.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT 1 FROM worker WHERE pool = $1 FOR UPDATE', [pool]);
      const ends = Promise.all(both.map((worker, at) => end(worker, assignments[at]!)));
      const held = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND (query LIKE '%cordoned = true%' OR query LIKE '%advisory_xact_lock%')`;
      await until(async () => (await api.query(held)).length === 2);
      await holder.query('COMMIT');
      await ends;
    } finally {
      await holder.end();
    }
    expect(await cordoned(pool)).toHaveLength(1);
    for (const worker of both) worker.vanish();
  });

  it('is not blamed for jobs that also die elsewhere', async () => {
    const pool = `lemons-${pools++}`;
    const one = await new ScriptedWorker(api, { pool, name: 'one' }).connect();
    const two = await new ScriptedWorker(api, { pool, name: 'two' }).connect();
    const third = await new ScriptedWorker(api, { pool, name: 'third' }).connect();
    const ids = [];
    for (let n = 0; n < 3; n++) {
      const id = await create(pool);
      ids.push(id);
      await two.report(await two.nextAssignment(), startedIn('p'), died('own'));
      await api.post(`/fine_tuning/jobs/${id}/pause`);
    }
    expect(await cordoned(pool)).toEqual(['two']);
    for (const id of ids) {
      await api.post(`/fine_tuning/jobs/${id}/resume`);
      await one.report(await one.nextAssignment(), startedIn('p'), died('own'));
      await api.post(`/fine_tuning/jobs/${id}/cancel`);
    }
    expect(await cordoned(pool)).toEqual(['two']);
    for (const worker of [one, two, third]) worker.vanish();
  });
});
