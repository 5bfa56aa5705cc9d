// An eval as the score of a job's checkpoints, with a worker whose answers the test scripts.
import type {
  CheckpointObject,
  ChromeTrace,
  JobEventObject,
  JobObject,
  LimitsObject,
  MetricsObject,
  Page,
  SweepObject,
} from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import OpenAI from 'openai';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import {
  evaluated,
  saved,
  ScriptedWorker,
  started,
  step,
  type WorkerRequest,
} from './scripted-worker.js';
import { pythonJson, TrackerServer } from './tracker-server.js';

let api: TestApi;
let worker: ScriptedWorker;
let timer: NodeJS.Timeout;
/** Number of leading items that are answered correctly. */
let right = 0;
/** Whether the worker answers. */
let answering = true;
let baseline: { eval_id: string; id: string };

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 1_500, outboundNetworks: ['127.0.0.0/8'] });
  await importBase(api);
  worker = await new ScriptedWorker(api, { maxChats: 8 }).connect();
  let seen = 0;
  timer = setInterval(() => {
    for (; answering && seen < worker.requests.length; seen++) {
      const question = worker.requests[seen]!;
      worker.sendText(question.id, answerTo(question));
    }
  }, 20);
  baseline = await runOnBase();
}, 60_000);
afterAll(async () => {
  clearInterval(timer);
  worker?.vanish();
  await api?.close();
});

function answerTo({ messages }: WorkerRequest): string {
  const { content = '' } = messages.at(-1) ?? {};
  if (content.startsWith('Grade')) return content.includes('W0') ? 'well' : '1';
  const n = Number(/w(\d+)/.exec(content)?.[1]);
  return n < right ? `W${n}` : 'no';
}

const SAME = {
  type: 'string_check' as const,
  name: 'same',
  operation: 'eq' as const,
  input: '{{sample.output_text}}',
  reference: '{{item.answer}}',
};
const JUDGE = {
  type: 'score_model' as const,
  name: 'judge',
  model: 'tiny',
  input: [{ role: 'user' as const, content: 'Grade {{sample.output_text}}' }],
};
const source = {
  type: 'file_content',
  content: [0, 1, 2, 3].map((n) => ({ item: { word: `w${n}`, answer: `W${n}` } })),
};
const template = [{ role: 'user', content: 'In capitals: {{item.word}}' }];
const asking = {
  type: 'completions',
  model: 'tiny',
  source,
  input_messages: { type: 'template', template },
};

async function runOnBase(
  data_source: object = asking,
  criteria: OpenAI.Evals.EvalCreateParams['testing_criteria'] = [SAME],
) {
  const { evals } = api.client;
  const { id: eval_id } = await evals.create({
    name: 'words',
    data_source_config: {
      type: 'custom',
      item_schema: { type: 'object' },
      include_sample_schema: true,
    },
    testing_criteria: criteria,
  });
  const { id } = await evals.runs.create(eval_id, { data_source: data_source as never });
  await until(
    async () => (await evals.runs.retrieve(id, { eval_id })).status === 'completed',
    20_000,
  );
  return { eval_id, id };
}

const create = async (graft: object, more: object = {}) =>
  api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    ...more,
    graft,
  });
const jobOf = (id: string) => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
const eventsOf = async (id: string) =>
  (
    await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${id}/events?limit=100`)
  ).data.toReversed();
const checkpointsOf = async (id: string) =>
  (await api.get<Page<CheckpointObject>>(`/fine_tuning/jobs/${id}/checkpoints`)).data;

/** Reports a checkpoint and returns the event with its score, or the event that it has none. */
async function checkpoint(
  lease: Awaited<ReturnType<ScriptedWorker['nextAssignment']>>,
  at: number,
) {
  const state = await worker.put(lease, 'adapter.safetensors', `state ${at}`);
  await worker.report(lease, step(at, 3), evaluated(at, at), saved(at, [state], [state]));
  const expected = new RegExp(`Step ${at}/.*eval score|at step ${at} has no score`);
  let found: JobEventObject | undefined;
  await until(async () => {
    found = (await eventsOf(lease.jobId)).find(({ message }) => expected.test(message));
    return found !== undefined;
  }, 20_000);
  return found!;
}

it('scores each checkpoint, and selects the best one by score', async () => {
  // The eval's id selects its newest run that queried a model.
  const { id, graft } = await create({ eval: baseline.eval_id });
  expect(graft).toMatchObject({ eval: baseline.id, best_score: null });
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 40));
  const scores: [at: number, passing: number][] = [
    [10, 1],
    [20, 3],
    [30, 2],
  ];
  for (const [at, passing] of scores) {
    right = passing;
    const event = await checkpoint(lease, at);
    expect(event).toMatchObject({
      type: 'metrics',
      message: `Step ${at}/40: eval score=${(passing / 4).toFixed(2)} (${passing} of 4 items pass)`,
      data: { step: at, eval_score: passing / 4, eval_id: baseline.eval_id },
      graft: { kind: 'evaluation' },
    });
    // The answers are stored with the run.
    const run_id = event.data!['eval_run_id'] as string;
    const { data } = await api.client.evals.runs.outputItems.list(run_id, {
      eval_id: baseline.eval_id,
      order: 'asc',
    });
    const texts = data.map(({ sample }) => sample.output[0]?.content);
    expect(texts).toEqual([0, 1, 2, 3].map((n) => (n < passing ? `W${n}` : 'no')));
    expect(data[0]!.sample.model).toMatch(new RegExp(`^ft:.*:ckpt-step-${at}$`));
  }
  const metrics = await api.get<MetricsObject>(`/fine_tuning/jobs/${id}/metrics`);
  expect(metrics.evaluations).toEqual(
    scores.map(([at, passing]) =>
      expect.objectContaining({ step: at, loss: at, eval_score: passing / 4 }),
    ),
  );
  expect((await jobOf(id)).graft).toMatchObject({
    best_score: { step: 20, eval_score: 0.75 },
    best: { step: 10, valid_loss: 10 },
  });
  const trace = await api.get<ChromeTrace>(`/fine_tuning/jobs/${id}/trace`);
  const spans = trace.traceEvents.filter(({ cat }) => cat === 'eval');
  expect(spans.map(({ args }) => [args['graft.step'], args['graft.eval_status']])).toEqual(
    scores.map(([at]) => [at, 'completed']),
  );
  for (const { dur } of spans) expect(dur).toBeGreaterThan(0);
  const kept = await checkpointsOf(id);
  expect(
    kept.map(({ step_number, graft: { best }, metrics: { eval_score } }) => [
      step_number,
      best,
      eval_score,
    ]),
  ).toEqual([
    [30, false, 0.5],
    [20, true, 0.75],
    [10, false, 0.25],
  ]);

  // A checkpoint that is reported again is scored only once.
  const runs = () => api.query('SELECT step FROM eval_run WHERE job_id = $1 ORDER BY step', [id]);
  const state = await worker.put(lease, 'adapter.safetensors', 'state 30');
  await worker.report(lease, saved(30, [state], [state]));
  expect(await runs()).toEqual([{ step: 10 }, { step: 20 }, { step: 30 }]);
  await worker.finish(lease, 40);
  const done = await jobOf(id);
  expect(done.status).toBe('succeeded');
  const csv = await (await api.client.files.content(done.result_files[0]!)).text();
  expect(csv.split('\n', 1)[0]).toMatch(/,valid_eval_score$/);
  expect(csv).toMatch(/\n20,.*,0\.75\n/);
  // The evaluation and its later score are separate points.
  const headers = api.headers;
  const file = await fetch(`${api.url}/v1/fine_tuning/jobs/${id}/tensorboard`, { headers });
  const points = Buffer.from(await file.arrayBuffer()).toString('latin1');
  for (const tag of ['valid/loss', 'valid/eval_score'])
    expect([tag, points.split(tag).length - 1]).toEqual([tag, 3]);
}, 90_000);

it('sends scores to trackers even after the end of the job', async () => {
  const tracker = await TrackerServer.open();
  await api.post('/integrations/wandb', { url: tracker.url, api_key: 'key' });
  await api.post('/integrations/mlflow', { url: tracker.url });
  answering = false;
  right = 3;
  const integrations = [
    { type: 'wandb', wandb: { project: 'late' } },
    { type: 'mlflow', mlflow: { experiment: 'late' } },
  ];
  const { id } = await create({ eval: baseline.eval_id }, { integrations });
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 10));
  const state = await worker.put(lease, 'adapter.safetensors', 'state');
  await worker.report(lease, step(10, 3), evaluated(10, 1), saved(10, [state], [state]));
  await worker.finish(lease, 10);
  const states = async () => (await jobOf(id)).integrations!.map(({ graft }) => graft.status);
  await until(async () => (await states()).every((one) => one === 'done'), 20_000);
  const run = tracker.wandb.get(id)!;
  const [mlflowRun] = [...tracker.mlflow.values()];
  expect([run.history.length, run.exitcode, mlflowRun!.status]).toEqual([2, 0, 'FINISHED']);

  run.exitcode = null;
  mlflowRun!.status = 'RUNNING';
  answering = true;
  await until(() => run.exitcode === 0 && mlflowRun!.status === 'FINISHED', 30_000);
  expect(run.history.map(pythonJson)[2]).toMatchObject({
    'train/global_step': 10,
    'valid/eval_score': 0.75,
  });
  const scores = [...mlflowRun!.metrics.values()].filter(({ key }) => key === 'valid/eval_score');
  expect(scores).toMatchObject([{ step: 10, value: 0.75 }]);
  await until(async () => (await states()).every((one) => one === 'done'));
  for (const type of ['wandb', 'mlflow'])
    await fetch(`${api.url}/v1/integrations/${type}`, { method: 'DELETE', headers: api.headers });
  await tracker.stop();
}, 90_000);

it("sends a score to a tracker even if it is written while the tracker's run ends", async () => {
  const tracker = await TrackerServer.open();
  await api.post('/integrations/wandb', { url: tracker.url, api_key: 'key' });
  const client = new pg.Client(api.databaseUrl);
  await client.connect();
  let answer: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (answer = resolve));
  try {
    answering = false;
    right = 3;
    const integrations = [{ type: 'wandb', wandb: { project: 'close' } }];
    const { id } = await create({ eval: baseline.eval_id }, { integrations });
    // The request that ends the tracker's run is processed; its response waits.
    tracker.done = () => (tracker.wandb.get(id)?.exitcode === 0 ? gate : undefined);
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    await worker.report(lease, started(0, 10));
    const state = await worker.put(lease, 'adapter.safetensors', 'state');
    await worker.report(lease, step(10, 3), evaluated(10, 1), saved(10, [state], [state]));
    await worker.finish(lease, 10);
    await until(() => tracker.wandb.get(id)?.exitcode === 0, 20_000);
    // The transaction that writes the score waits at its last statement.
    await client.query('BEGIN; LOCK TABLE webhook_delivery IN SHARE MODE');
    answering = true;
    const waiting = async (like: string): Promise<boolean> => {
      const sql = `SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1`;
      return (await api.query(sql, [like])).length > 0;
    };
    await until(() => waiting('%INSERT INTO webhook_delivery%'), 20_000);
    answer();
    const status = async () => (await jobOf(id)).integrations![0]!.graft.status;
    await until(async () => (await status()) === 'done' || (await waiting('%FOR SHARE%')));
    await client.query('COMMIT');
    const run = tracker.wandb.get(id)!;
    await until(() => run.history.length === 3);
    expect(pythonJson(run.history[2]!)).toMatchObject({ 'valid/eval_score': 0.75 });
    await until(async () => (await status()) === 'done');
  } finally {
    answer();
    answering = true;
    await client.end();
    await fetch(`${api.url}/v1/integrations/wandb`, { method: 'DELETE', headers: api.headers });
    await tracker.stop();
  }
}, 90_000);

it('scores checkpoints even if the project cannot store the items of their runs', async () => {
  const { project } = await api.get<{ project: { id: string } }>('/keys/me');
  const limit = (storage_bytes: number | null) =>
    api.post(`/organization/projects/${project.id}`, { graft: { limits: { storage_bytes } } });
  const stored = async () =>
    (await api.get<LimitsObject>('/limits')).data.find(({ name }) => name === 'storage_bytes')!
      .used;
  const padding = 'x'.repeat(1_000);
  const content = source.content.map(({ item }) => ({ item: { ...item, padding } }));
  const { id: run } = await runOnBase({ ...asking, source: { ...source, content } });
  const { id } = await create({ eval: run });
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 20));
  const before = await stored();
  // Enough for a few checkpoints and the results, but not for the items of one run.
  await limit(before + 4_000);
  right = 2;
  for (const at of [10, 20]) expect((await checkpoint(lease, at)).data).toMatchObject({ step: at });
  expect(await stored()).toBeLessThan(before + 1_000);
  await worker.finish(lease, 20);
  expect((await jobOf(id)).status).toBe('succeeded');
  await limit(null);
}, 60_000);

it('reports no score, with the reason, if an item cannot be graded or the run was deleted', async () => {
  const { eval_id, id: run } = await runOnBase(asking, [SAME, JUDGE]);
  const { id } = await create({ eval: run });
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 40));
  right = 1;
  expect(await checkpoint(lease, 10)).toMatchObject({
    level: 'warn',
    message: 'The checkpoint at step 10 has no score: 1 of 4 items of its eval could not be graded',
  });
  await api.client.evals.runs.delete(run, { eval_id });
  expect(await checkpoint(lease, 20)).toMatchObject({
    level: 'warn',
    message: `The checkpoint at step 20 has no score: ${run} was deleted`,
  });
  expect((await jobOf(id)).graft.best_score).toBeNull();
  expect((await checkpointsOf(id)).find(({ graft: { best } }) => best)?.step_number).toBe(10);
  await worker.finish(lease, 40);
}, 60_000);

it('a cancelled job cancels its runs, both the active and the queued one', async () => {
  const { id } = await create({ eval: baseline.id });
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 40));
  const runs = () =>
    api.query<{ status: string }>('SELECT status FROM eval_run WHERE job_id = $1 ORDER BY step', [
      id,
    ]);
  answering = false;
  const asked = worker.requests.length;
  for (const at of [10, 20]) {
    const state = await worker.put(lease, 'adapter.safetensors', `state ${at}`);
    await worker.report(lease, step(at, 3), saved(at, [state], [state]));
  }
  await until(() => worker.requests.length === asked + 4, 20_000);
  expect(await runs()).toEqual([{ status: 'in_progress' }, { status: 'queued' }]);
  await api.post(`/fine_tuning/jobs/${id}/cancel`);
  expect(await runs()).toEqual([{ status: 'canceled' }, { status: 'canceled' }]);
  // The API process releases the requests, and other runs of the project proceed.
  await until(() => worker.cancelled.length >= 4, 20_000);
  answering = true;
  const { eval_id } = baseline;
  const { id: next } = await api.client.evals.runs.create(eval_id, {
    data_source: asking as never,
  });
  await until(
    async () => (await api.client.evals.runs.retrieve(next, { eval_id })).status === 'completed',
    20_000,
  );
  expect(worker.requests.length).toBe(asked + 8);
  expect(await runs()).toEqual([{ status: 'canceled' }, { status: 'canceled' }]);
  expect((await jobOf(id)).graft.best_score).toBeNull();
}, 60_000);

it('rejects evals that cannot be a score', async () => {
  const content = source.content.map(({ item }) => ({ item, sample: { output_text: 'x' } }));
  const filed = await runOnBase({ type: 'jsonl', source: { type: 'file_content', content } });
  const refusals: [graft: object, more: object, message: RegExp][] = [
    [{ eval: 'evalrun_none' }, {}, /No such Run: evalrun_none$/],
    [
      { eval: filed.id },
      {},
      /grades answers from a file; name a run that generated its answers with a model/,
    ],
    [
      { eval: filed.eval_id },
      {},
      /no run that generated answers with a model and still has its items; run the eval on the base model first/,
    ],
    [{ eval: baseline.id }, { peft: null }, /full fine-tuning cannot generate answers/],
  ];
  for (const [graft, more, message] of refusals)
    await expect(create(graft, more)).rejects.toMatchObject({
      message: expect.stringMatching(message) as string,
    });
}, 60_000);

it('ends sweep trials that are behind by their score', async () => {
  const { id, trials } = await api.post<SweepObject>('/sweeps', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { eval: baseline.eval_id },
    search: {
      algorithm: 'asha',
      parameters: { 'peft.r': [1, 2] },
      metric: 'eval_score',
      reduction_factor: 2,
      rungs: [10],
    },
  });
  // Scores need checkpoints, so there is one at the rung.
  expect((await jobOf(trials![0]!.job)).graft).toMatchObject({ save_steps: 10 });
  const leases = [];
  for (const passing of [3, 1]) {
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    leases.push(lease);
    await worker.report(lease, started(0, 40));
    right = passing;
    await checkpoint(lease, 10);
  }
  const [, behind] = leases;
  await until(() =>
    worker.commands.some(
      ({ action, jobId, step: at }) =>
        action === Command_Action.ACTION_FINISH && jobId === behind!.jobId && at === 10,
    ),
  );
  const found = (await api.get<SweepObject>(`/sweeps/${id}`)).trials!;
  expect(found.map(({ score, rungs }) => [score, rungs])).toEqual([
    [0.75, [{ step: 10, score: 0.75, kept: true }]],
    [0.25, [{ step: 10, score: 0.25, kept: false }]],
  ]);
  for (const { jobId } of leases) await api.post(`/fine_tuning/jobs/${jobId}/cancel`);
});

it('selects the winner of a sweep by the scores of the final models, once all exist', async () => {
  const { id } = await api.post<SweepObject>('/sweeps', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { eval: baseline.eval_id },
    search: { algorithm: 'grid', parameters: { 'peft.r': [1, 2] }, metric: 'eval_score' },
  });
  const sweepOf = () => api.get<SweepObject>(`/sweeps/${id}`);
  // The scores of the checkpoints differ from those of the final models.
  const leases = [];
  for (const passing of [1, 3]) {
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    leases.push(lease);
    await worker.report(lease, started(0, 40));
    right = passing;
    await checkpoint(lease, 10);
  }
  answering = false;
  for (const lease of leases) {
    const state = await worker.put(lease, 'adapter.safetensors', `end of ${lease.jobId}`);
    await worker.report(lease, step(40, 3), evaluated(40, 40, true), saved(40, [state], [state]));
    await worker.finish(lease, 40);
  }
  expect(await sweepOf()).toMatchObject({
    status: 'running',
    trial_counts: { succeeded: 2, running: 0 },
    winner: null,
    trials: [{ score: null }, { score: null }],
  });
  expect((await api.get<Page<SweepObject>>('/sweeps')).data[0]).toMatchObject({ id, status: 'running', winner: null }); // prettier-ignore
  right = 2;
  answering = true;
  await until(async () => (await sweepOf()).status === 'succeeded', 20_000);
  const { trials = [], winner } = await sweepOf();
  expect(trials.map(({ score }) => score)).toEqual([0.5, 0.5]);
  expect(winner).toMatchObject({ trial: 1, score: 0.5 });
});
