// Interruption of running jobs on purpose: POST /v1/fine_tuning/jobs/{id}/interrupt.
import type { JobInterruptObject, JobObject, Page } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, clientOf, makeProject, type TestProject } from './projects.js';
import { saved, ScriptedWorker, started, step } from './scripted-worker.js';

let api: TestApi;
let beside: TestApi;
let file: string;
let project: TestProject;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi({ reconcileMs: 200 });
  beside = await startTestApi({ beside: api });
  await importBase(api);
  file = await uploadChats(api);
  project = await makeProject(api, 'neighbor');
}, 60_000);
afterAll(async () => {
  await beside?.close();
  await api?.close();
});

const job = (id: string): Promise<JobObject> => api.get(`/fine_tuning/jobs/${id}`);
const interrupt = (id: string, body: object = {}) =>
  ask(api, api.apiKey, 'post', `/v1/fine_tuning/jobs/${id}/interrupt`, body);

async function create(pool: string): Promise<string> {
  const body = { model: 'tiny', training_file: file, graft: { pool } };
  return (await api.post<JobObject>('/fine_tuning/jobs', body)).id;
}

const startedIn = (process: string, fromStep = 0) => {
  const { payload } = started(fromStep);
  const origin = { device: 'cpu', threads: 2, trainer_build: 'build-7' };
  return { kind: 'started', payload: { ...payload, process, ...origin } } as const;
};

const killed = (process: string) =>
  ({
    kind: 'failed',
    payload: {
      code: 'interrupted',
      message: 'the trainer process was killed on purpose',
      param: null,
      retryable: true,
      process,
    },
  }) as const;

const messages = async (id: string): Promise<string[]> =>
  (await api.get<Page<{ message: string }>>(`/fine_tuning/jobs/${id}/events?limit=100`)).data.map(
    ({ message }) => message,
  );

const name = async (): Promise<string> => {
  const [row] = await api.query<{ name: string }>('SELECT name FROM api_key ORDER BY created_at');
  return row?.name ?? '';
};

const interrupts = ({ commands }: ScriptedWorker) =>
  commands.filter(({ action }) => action === Command_Action.ACTION_INTERRUPT);

it('refuses a job that does not train, and says why', async () => {
  const pool = `pool-${pools++}`;
  const id = await create(pool);
  const waiting = await interrupt(id);
  expect(waiting).toMatchObject({ status: 400, code: 'invalid_state' });
  expect(waiting.text).toContain('is queued: only a running job can be interrupted');
  const worker = await new ScriptedWorker(api, { pool }).connect();
  worker.keep(await worker.nextAssignment());
  expect((await interrupt(id)).text).toContain('has no trainer process yet');
  expect((await interrupt('ftjob-nope')).status).toBe(404);
  expect(interrupts(worker)).toEqual([]);
  worker.leave();
});

it('kills the process, charges no retry and shows who did it', async () => {
  const pool = `pool-${pools++}`;
  const id = await create(pool);
  const worker = await new ScriptedWorker(beside, { pool }).connect();
  const first = await worker.nextAssignment();
  worker.keep(first);
  const state = await worker.put(first, 'state.bin', 'state at 2');
  await worker.report(first, startedIn('p-1'), step(1), step(2), saved(2, [state]), step(3));
  const answer = await api.post<JobInterruptObject>(`/fine_tuning/jobs/${id}/interrupt`);
  expect(answer).toEqual({
    object: 'graft.job_interrupt',
    job_id: id,
    worker: 'scripted',
    process: 'p-1',
    jobs: [{ id, attempt: 1, step: 3, resumes_from: 2 }],
    others: 0,
  });
  // The worker's stream ends at the other API process.
  await until(() => interrupts(worker).length === 1);
  expect(interrupts(worker)[0]).toMatchObject({ jobId: id, attempt: first.attempt });
  await worker.report(first, killed('p-1'));
  const again = await worker.nextAssignment();
  expect(again).toMatchObject({ jobId: id, checkpointStep: 2 });
  await worker.report(again, startedIn('p-2', 2), step(3));
  await worker.finish(again, 3);
  const { status, graft } = await job(id);
  expect(status).toBe('succeeded');
  expect(graft.attempts).toMatchObject([
    {
      outcome: 'interrupted',
      reason: `interrupted on purpose by ${await name()}`,
      from_step: 0,
      to_step: 3,
    },
    { outcome: 'done', reason: null, from_step: 2, to_step: 3 },
  ]);
  const [budgets] = await api.query(
    'SELECT crash_count, infra_count, present_at_deaths FROM job WHERE id = $1',
    [id],
  );
  expect(budgets).toEqual({ crash_count: 0, infra_count: 0, present_at_deaths: 0 });
  expect(await messages(id)).toContain(
    `The trainer process is being killed on purpose, by ${await name()}`,
  );
  const audit = await api.query(
    `SELECT detail FROM audit WHERE action = 'job.interrupted' AND target = $1`,
    [id],
  );
  expect(audit).toEqual([{ detail: { attempt: 1, worker: 'scripted' } }]);
  worker.leave();
});

it('needs force if other jobs share the process, and shows other projects only that it happened', async () => {
  const pool = `pool-${pools++}`;
  const worker = await new ScriptedWorker(api, { pool, slots: 3 }).connect();
  const client = clientOf(api, project.member.key);
  const foreignFile = await client.files.create({
    file: new File([await api.client.files.content(file).then((it) => it.text())], 'c.jsonl'),
    purpose: 'fine-tune',
  });
  const own = [await create(pool), await create(pool)];
  const foreign = await client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: foreignFile.id,
    graft: { pool },
  } as never);
  const runs = [
    await worker.nextAssignment(),
    await worker.nextAssignment(),
    await worker.nextAssignment(),
  ];
  for (const run of runs) {
    worker.keep(run);
    await worker.report(run, startedIn('p-9'), step(1));
  }
  const [target = '', other = ''] = own;
  const refused = await interrupt(target);
  expect(refused).toMatchObject({ status: 409, code: 'conflict' });
  expect(refused.text).toContain(`2 other jobs train in the same process (${other}, 1 of other projects)`); // prettier-ignore
  expect(interrupts(worker)).toEqual([]);
  const answer = await api.post<JobInterruptObject>(`/fine_tuning/jobs/${target}/interrupt`, {
    force: true,
  });
  expect(answer.jobs.map(({ id }) => id)).toEqual([...own].sort());
  expect(answer.others).toBe(1);
  await until(() => interrupts(worker).length === 1);
  for (const run of runs) await worker.report(run, killed('p-9'));
  const by = await name();
  for (const id of own)
    expect((await job(id)).graft.attempts[0]?.reason).toBe(`interrupted on purpose by ${by}`);
  const seen = (await client.fineTuning.jobs.retrieve(foreign.id)) as unknown as JobObject;
  expect(seen.graft.attempts[0]).toMatchObject({
    outcome: 'interrupted',
    reason: 'interrupted on purpose by an administrator',
  });
  const denied = await ask(api, project.owner.key, 'post', `/v1/fine_tuning/jobs/${foreign.id}/interrupt`, {}); // prettier-ignore
  expect(denied.code).toBe('insufficient_scope');
  worker.leave();
});

it('reports a worker that cannot be reached, and interrupts nothing', async () => {
  const pool = `pool-${pools++}`;
  const id = await create(pool);
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const run = await worker.nextAssignment();
  await worker.report(run, startedIn('p-20'), step(1));
  worker.vanish();
  await until(async () => {
    const [row] = await api.query<{ state: string }>('SELECT state FROM worker WHERE id = $1', [
      worker.welcome?.workerId,
    ]);
    return row?.state === 'offline';
  });
  const answer = await interrupt(id);
  expect(answer).toMatchObject({ status: 503, code: 'unavailable' });
  expect(answer.text).toContain('nothing was interrupted');
  expect((await job(id)).graft.attempts[0]).toMatchObject({ outcome: null, reason: null });
});
