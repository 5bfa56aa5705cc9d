// Sweeps over the API, with workers whose losses the test scripts.
import type { JobEventObject, JobObject, Page, SweepObject, TrialObject } from '@graft/contracts';
import { Command_Action, type Assignment } from '@graft/contracts/grpc';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chats, importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { ask, makeProject } from './projects.js';
import { evaluated, ScriptedWorker, started, step } from './scripted-worker.js';
import {
  startTrial,
  finishCommandOf,
  reachStep,
  rejectedSweep,
  STEPS,
  trialsOn,
} from './sweep-trials.js';

let api: TestApi;
/** A second process of the same installation. */
let beside: TestApi;
let file: string;
let pools = 0;
const workers: ScriptedWorker[] = [];

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3_000, reconcileMs: 300, retentionMs: 200 });
  beside = await startTestApi({ beside: api });
  await importBase(api);
  file = await uploadChats(api);
}, 60_000);
afterAll(async () => {
  for (const worker of workers) worker.vanish();
  await beside?.close();
  await api?.close();
});

const JOB = () => trialsOn(file, `sweeps-${++pools}`);
type Body = ReturnType<typeof JOB> & { search: object; graft: object };

const create = (body: object, at = api): Promise<SweepObject> => at.post('/sweeps', body);
const sweepOf = (id: string, at = api): Promise<SweepObject> => at.get(`/sweeps/${id}`);
const jobOf = (id: string): Promise<JobObject> => api.get(`/fine_tuning/jobs/${id}`);
const trialsOf = async (id: string) => (await sweepOf(id)).trials ?? [];
const asha = (parameters: object, more: object = {}): Body => ({
  ...JOB(),
  search: { algorithm: 'asha', parameters, ...more },
});

async function workerFor(body: Body, at = api): Promise<ScriptedWorker> {
  const worker = await new ScriptedWorker(at, { pool: body.graft.pool, slots: 9 }).connect();
  workers.push(worker);
  return worker;
}

const refused = (body: object) => rejectedSweep(api, body);

describe('a sweep', () => {
  it('creates one ordinary job per grid point, which names the sweep', async () => {
    const body = { ...JOB(), suffix: 'many', metadata: { of: 'grid' }, search: { algorithm: 'grid', parameters: { 'peft.peft_type': ['LORA', 'IA3'], 'graft.learning_rate': [1e-3, 1e-4] } } }; // prettier-ignore
    const made = await create(body);
    expect(made).toMatchObject({
      object: 'graft.sweep',
      model: 'tiny',
      status: 'queued',
      training_file: file,
      suffix: 'many',
      metadata: { of: 'grid' },
      trial_counts: { total: 4, queued: 4, running: 0, succeeded: 0, failed: 0, cancelled: 0 },
      winner: null,
      search: { algorithm: 'grid', metric: 'valid_loss', reduction_factor: null, rungs: [] },
    });
    const trials = made.trials ?? [];
    expect(trials.map(({ number, options }) => [number, ...Object.values(options)])).toEqual([
      [1, 'LORA', 1e-3],
      [2, 'LORA', 1e-4],
      [3, 'IA3', 1e-3],
      [4, 'IA3', 1e-4],
    ]);
    const job = await jobOf(trials[2]!.job);
    expect(job).toMatchObject({
      status: 'queued',
      user_provided_suffix: 'many',
      metadata: { of: 'grid' },
      peft: { peft_type: 'IA3' },
      // Defaults by which trials are compared.
      graft: {
        learning_rate: 1e-3,
        validation_split: 0.1,
        measure_forgetting: true,
        sweep: { id: made.id, trial: 3 },
      },
    });
    const { data } = await api.get<Page<SweepObject>>('/sweeps?limit=1');
    const { trials: _, warnings: __, ...listed } = made;
    expect(data).toEqual([listed]);
    const found = await api.get<Page<JobObject>>(`/fine_tuning/jobs?search=${made.id}`);
    expect(found.data).toHaveLength(4);
  });

  it('draws the same trials from the same seed, and validates each like a job', async () => {
    const parameters = { 'peft.r': [4, 8], 'graft.learning_rate': { min: 1e-5, max: 1e-2, log: true } }; // prettier-ignore
    const search = (seed: number) => ({ algorithm: 'random', parameters, max_trials: 5, seed });
    const options = async (seed: number) =>
      (await create({ ...JOB(), search: search(seed) })).trials?.map((one) => one.options);
    const first = await options(1);
    expect(first).toHaveLength(5);
    expect(await options(1)).toEqual(first);
    expect(await options(2)).not.toEqual(first);
    expect(await refused({ ...JOB(), search: { ...search(1), parameters: { 'peft.r': [8, 0] } } })).toEqual(['invalid_value', 'peft.r', expect.stringMatching(/^trial 2 \(peft\.r 0\): peft\.r/)]); // prettier-ignore
  });

  it.each([
    [{ search: { algorithm: 'grid' } }, 'search.parameters', 'must name at least one field'],
    [{}, 'search', 'search is required'],
    [
      { search: { algorithm: 'grid', parameters: { learning_rate: [1] } } },
      'search.parameters.learning_rate',
      'did you mean graft.learning_rate?',
    ],
    [
      { search: { algorithm: 'grid', parameters: { model: ['tiny', 'other'] } } },
      'search.parameters.model',
      'must share this field',
    ],
    [
      { search: { algorithm: 'grid', parameters: { seed: [1, 2] } }, graft: { split_seed: null } }, // prettier-ignore
      'search.parameters.seed',
      'remove graft.split_seed',
    ],
    [
      { search: { algorithm: 'grid', parameters: { 'peft.r': { min: 1, max: 4 } } } },
      'search.parameters.peft.r',
      'takes lists of values',
    ],
    [
      { search: { algorithm: 'random', parameters: { 'peft.r': [1] }, metric: 'eval_score' } },
      'graft.eval',
      'graft.eval is required',
    ],
    [
      { peft: { peft_type: 'LORA' }, search: { algorithm: 'asha', preset: 'methods' } },
      'peft',
      'sets its values; remove it',
    ],
    [
      { search: { algorithm: 'asha', parameters: { 'peft.r': [1, 2] }, rungs: [90] } },
      'search.rungs',
      'before the end of the longest trial, step 90',
    ],
    [
      {
        graft: { max_steps: 90, eval_steps: 4 },
        search: { algorithm: 'asha', parameters: { 'peft.r': [1, 2] }, rungs: [8, 30] },
      },
      'search.rungs',
      'expected multiples of graft.eval_steps (4), got 30',
    ],
    [
      { search: { algorithm: 'asha', parameters: { 'peft.r': [1, 2] }, rungs: [10, 33] } },
      'search.rungs',
      'choose multiples of a larger number',
    ],
    [
      {
        graft: { max_steps: 90, eval_steps: 100 },
        search: { algorithm: 'asha', parameters: { 'peft.r': [1, 2] } },
      },
      'graft.eval_steps',
      'measured only every 100 steps',
    ],
    [
      { search: { algorithm: 'grid', parameters: { graft: [{ max_steps: 5 }] } } },
      'search.parameters.graft',
      'must share graft.task',
    ],
    [
      { search: { algorithm: 'grid', parameters: { 'graft.max_seq_len': [64, 128] } } },
      'search.parameters.graft.max_seq_len',
      'use search.metric eval_score',
    ],
    [
      { nonsense: 1, search: { algorithm: 'grid', parameters: { 'peft.r': [1] } } },
      'nonsense',
      'unknown field nonsense',
    ],
    [
      { training_file: 'file-none', search: { algorithm: 'grid', parameters: { 'peft.r': [1] } } },
      'training_file',
      'file-none',
    ],
  ])(
    'is rejected with the param, and creates nothing: case %#',
    async (changes, param, message) => {
      const [, field, text] = await refused({ ...JOB(), ...changes });
      expect(field).toBe(param);
      expect(text).toContain(message);
    },
  );

  it('is created once for repeated requests, with one audit entry', async () => {
    const body = { ...JOB(), search: { algorithm: 'grid', parameters: { 'peft.r': [4, 8] } } };
    const send = (of: object) =>
      request(api.url).post('/v1/sweeps').set({ ...api.headers, 'idempotency-key': 'sweep-1' }).send(of); // prettier-ignore
    const [one, two] = await Promise.all([send(body), send(body)]);
    expect([one.status, two.status]).toEqual([200, 200]);
    expect(two.body.id).toBe(one.body.id);
    expect((await send(body)).body.id).toBe(one.body.id);
    const other = await send({ ...body, seed: 3 });
    expect([other.status, other.body.error.code]).toEqual([422, 'idempotency_mismatch']);
    const entries = await api.query(`SELECT action, detail->>'trials' AS trials FROM audit WHERE target = ANY($1)`, [[one.body.id, ...one.body.trials.map((trial: TrialObject) => trial.job)]]); // prettier-ignore
    expect(entries).toEqual([{ action: 'sweep.created', trials: '2' }]);
  });

  it("counts against the project's queued jobs as a whole", async () => {
    const project = await makeProject(api, 'swept');
    const limits = { queued_jobs: 3 };
    await api.post(`/organization/projects/${project.id}`, { graft: { limits } });
    const form = new FormData();
    form.set('purpose', 'fine-tune');
    form.set('file', new File([chats(12)], 'a.jsonl'));
    const headers = { authorization: `Bearer ${project.member.key}` };
    const uploaded = await fetch(`${api.url}/v1/files`, { method: 'POST', headers, body: form });
    const { id } = (await uploaded.json()) as { id: string };
    const send = async (ranks: number[]) =>
      ask(api, project.member.key, 'post', '/v1/sweeps', {
        model: 'tiny',
        training_file: id,
        search: { algorithm: 'grid', parameters: { 'peft.r': ranks } },
      });
    expect(await send([1, 2, 3, 4])).toMatchObject({ status: 429, code: 'insufficient_quota' });
    const jobs = () => api.query('SELECT 1 FROM job WHERE project_id = $1', [project.id]);
    expect(await jobs()).toEqual([]);
    expect((await send([1, 2, 3])).status).toBe(200);
    expect(await jobs()).toHaveLength(3);
  });

  it('is cancelled with all open trials, and keeps finished ones', async () => {
    const body: Body = { ...JOB(), search: { algorithm: 'grid', parameters: { 'peft.r': [1, 2, 3] } } }; // prettier-ignore
    const { id } = await create(body);
    const worker = await workerFor(body);
    const [done, running] = [await startTrial(worker), await startTrial(worker)];
    await worker.report(done, evaluated(STEPS, 2, true));
    await worker.finish(done, STEPS);
    const cancelled = await api.post<SweepObject>(`/sweeps/${id}/cancel`);
    expect(cancelled).toMatchObject({
      status: 'cancelled',
      trial_counts: { total: 3, succeeded: 1, cancelled: 2 },
      winner: { trial: 1, job: done.jobId, score: 2 },
    });
    await until(() =>
      worker.commands.some(
        ({ jobId, action }) => jobId === running.jobId && action === Command_Action.ACTION_CANCEL,
      ),
    );
    // Already cancelled: no change.
    expect((await api.post<SweepObject>(`/sweeps/${id}/cancel`)).status).toBe('cancelled');
    const over = await create({ ...JOB(), search: body.search });
    await api.query(`UPDATE job SET state = 'failed' WHERE sweep_id = $1`, [over.id]);
    await expect(api.post(`/sweeps/${over.id}/cancel`)).rejects.toThrow('nothing to cancel');
  });

  it('keeps its final status when trials are deleted, which requires that all have ended', async () => {
    const search = { algorithm: 'grid', parameters: { 'peft.r': [1, 2, 3] } };
    const { id, trials = [] } = await create({ ...JOB(), search });
    const [good, bad, late] = trials.map(({ job }) => job) as [string, string, string];
    const end = (job: string, state: string) =>
      api.query('UPDATE job SET state = $2, finished_at = now() WHERE id = $1', [job, state]);
    const remove = (job: string) => ask(api, api.apiKey, 'delete', `/v1/fine_tuning/jobs/${job}`);
    await end(good, 'succeeded');
    await end(bad, 'failed');
    const { status, text } = await remove(good);
    expect(status).toBe(409);
    expect(text).toContain(
      `${good} is a trial of ${id}, whose trial ${late} has not finished; cancel the sweep or wait`,
    );
    await end(late, 'cancelled');
    expect((await remove(good)).status).toBe(200);
    const shown = { status: 'succeeded', trial_counts: { total: 2, failed: 1, cancelled: 1 } };
    expect(await sweepOf(id)).toMatchObject(shown);
    const gone = async (job: string) =>
      (await api.query('SELECT 1 FROM job WHERE id = $1', [job])).length === 0;
    const past = `UPDATE job SET deleted_at = deleted_at - interval '8 days' WHERE id = $1`;
    await api.query(past, [good]);
    await until(() => gone(good));
    expect(await sweepOf(id)).toMatchObject(shown);
    for (const job of [bad, late]) {
      expect((await remove(job)).status).toBe(200);
      await api.query(past, [job]);
      await until(() => gone(job));
    }
    expect(await sweepOf(id)).toMatchObject({ status: 'succeeded', trials: [] });
  });
});

describe('the methods preset', () => {
  it('is a sweep over methods of the registry, each with its own defaults', async () => {
    const search = { algorithm: 'asha', preset: 'methods' };
    const { trials = [], search: resolved } = await create({ ...JOB(), search });
    expect(resolved).toMatchObject({ preset: 'methods', rungs: [10, 30], reduction_factor: 3 });
    const types = trials.map(({ options }) => (options['peft'] as { peft_type: string }).peft_type);
    expect(types.length).toBeGreaterThanOrEqual(5);
    expect(new Set(types).size).toBeGreaterThanOrEqual(4);
    const rates = await Promise.all(
      trials.map(async ({ job }) => (await jobOf(job)).graft['learning_rate']),
    );
    expect(new Set(rates).size).toBeGreaterThanOrEqual(3);
    // evaluated at the rungs
    expect((await jobOf(trials[0]!.job)).graft).toMatchObject({ eval_steps: 10 });
  });

  it('omits methods that do not support the parameters, and is rejected if none does', async () => {
    const search = { algorithm: 'grid', preset: 'methods', parameters: { 'peft.r': [4, 8] } };
    const { trials = [] } = await create({ ...JOB(), search });
    const of = trials.map(({ number, options }) => [number, (options['peft'] as { peft_type: string }).peft_type, options['peft.r']]); // prettier-ignore
    expect(of).toEqual([
      [1, 'LORA', 4],
      [2, 'LORA', 8],
      [3, 'LORA', 4],
      [4, 'LORA', 8],
      [5, 'VERA', 4],
      [6, 'VERA', 8],
    ]);
    expect((await jobOf(trials[2]!.job)).peft).toMatchObject({ r: 4, use_dora: true });
    const none = { ...search, parameters: { 'peft.lora_alpha': [-1] } };
    expect((await refused({ ...JOB(), search: none }))[1]).toMatch(/^peft\./);
  });
});

describe('successive halving', () => {
  it('ends a trial at a rung if it is behind the trials before it, and reports the winner', async () => {
    const body = asha({ 'peft.r': [1, 2, 3, 4] }, { reduction_factor: 2, rungs: [10, 20] });
    const { id } = await create(body);
    const worker = await workerFor(body);
    const leases = [await startTrial(worker), await startTrial(worker), await startTrial(worker)];
    const [a, b, c] = leases as [Assignment, Assignment, Assignment];
    // The first trial at a rung is never behind.
    await reachStep(worker, a, 10, 3);
    expect(finishCommandOf(worker, a)).toBeUndefined();
    // One of two continues.
    await reachStep(worker, b, 10, 4);
    await until(() => finishCommandOf(worker, b) !== undefined, 1_000);
    expect(finishCommandOf(worker, b)).toMatchObject({ attempt: 1, step: 10 });
    expect((await jobOf(b.jobId)).graft.phase.code).toBe('ending');
    // The better one of three continues, even though an earlier one did.
    await reachStep(worker, c, 10, 1);
    expect(finishCommandOf(worker, c)).toBeUndefined();
    const listed = (await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${b.jobId}/events`))
      .data;
    expect(listed.map(({ message }) => message)).toContain(
      'Rung of the sweep at step 10: place 2 of 2 trials so far; the run ends early',
    );
    // Later events of the ending trial do not change the decision, nor does its full evaluation.
    await worker.report(b, step(11, 0.1), evaluated(10, 0.5, true));
    expect((await jobOf(b.jobId)).graft.phase.code).toBe('ending');
    await worker.report(b, evaluated(11, 3.5, true));
    await worker.finish(b, 11);
    await worker.report(c, evaluated(STEPS, 0.5, true));
    await worker.finish(c, STEPS, { forgetting: { loss: 3.25, base_loss: 3 } });
    const sweep = await sweepOf(id);
    expect(sweep).toMatchObject({
      status: 'running',
      ended_early: 1,
      trial_counts: { total: 4, queued: 1, running: 1, succeeded: 2 },
      winner: { job: c.jobId, score: 0.5, model: expect.stringMatching(/^ft:tiny/) as string },
    });
    const trial = (one: Assignment) => sweep.trials?.find(({ job }) => job === one.jobId);
    expect(trial(b)).toMatchObject({
      status: 'succeeded',
      ended_at_step: 10,
      step: 11,
      score: 3.5,
      rungs: [{ step: 10, score: 4, kept: false }],
      memory_bytes: 5e6,
      model_bytes: expect.any(Number) as number,
    });
    expect(trial(c)).toMatchObject({
      ended_at_step: null,
      forgetting: { loss: 3.25, base_loss: 3 },
      rungs: [{ step: 10, score: 1, kept: true }],
    });
    const events = (await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${b.jobId}/events`)).data; // prettier-ignore
    expect(events.map(({ message }) => message)).toContain(
      'The run ended early, at step 11 of 90: it was behind other trials of its sweep at step 10',
    );
  });

  it('places rungs at evaluation steps, which a trial or early_stopping_patience sets', async () => {
    const body = asha({ 'peft.r': [1, 2] });
    const every = { ...body, graft: { ...body.graft, eval_steps: 4 } };
    const { search, trials } = await create(every);
    expect(search).toMatchObject({ rungs: [12, 32] });
    expect((await jobOf(trials![0]!.job)).graft).toMatchObject({ eval_steps: 4 });
    const patient = await create({ ...body, graft: { ...body.graft, early_stopping_patience: 2 } });
    expect(patient.search).toMatchObject({ rungs: [10, 30] });
    expect((await jobOf(patient.trials![0]!.job)).graft).toMatchObject({
      eval_steps: 10,
      early_stopping_patience: 2,
    });
  });

  it('ignores later rungs that an ending trial reaches before it receives the command', async () => {
    const body = asha({ 'peft.r': [1, 2, 3] }, { reduction_factor: 2, rungs: [10, 20] });
    const { id } = await create(body);
    const worker = await workerFor(body);
    const [a, b, c] = [
      await startTrial(worker),
      await startTrial(worker),
      await startTrial(worker),
    ];
    await reachStep(worker, a, 10, 1);
    // in the same batch, and in a later one
    await worker.report(b, step(10, 2), evaluated(10, 2), step(20, 0.1), evaluated(20, 0.1));
    await worker.report(b, step(21, 0.1), evaluated(20, 0.1));
    await reachStep(worker, c, 10, 3);
    await reachStep(worker, c, 20, 0.1);
    await worker.report(c, { kind: 'failed', payload: { code: 'user_error', message: 'wrong', param: '', retryable: false, stderr_tail: '' } }); // prettier-ignore
    await until(async () => (await jobOf(c.jobId)).status === 'failed');
    const [, second, third] = await trialsOf(id);
    expect(second).toMatchObject({
      status: 'running',
      ended_at_step: null,
      rungs: [{ step: 10, score: 2, kept: false }],
    });
    // It failed, so it did not end early.
    expect(third).toMatchObject({ status: 'failed', ended_at_step: null });
    expect(third?.rungs).toEqual([{ step: 10, score: 3, kept: false }]);
    expect((await sweepOf(id)).ended_early).toBe(0);
  });

  it('does not end a trial that is at its last step', async () => {
    const search = { algorithm: 'asha', parameters: { 'graft.max_steps': [10, STEPS] }, rungs: [10] }; // prettier-ignore
    const body: Body = { ...JOB(), search };
    const { id, trials = [] } = await create(body);
    const worker = await workerFor(body);
    const lease = async (steps: number): Promise<Assignment> => {
      const taken = await worker.nextAssignment();
      worker.keep(taken);
      await worker.report(taken, started(0, steps));
      return taken;
    };
    const leases = [await lease(10), await lease(STEPS)];
    const [short, long] = trials.map(({ job }) => leases.find(({ jobId }) => jobId === job)!);
    await reachStep(worker, long!, 10, 1);
    await worker.report(short!, step(10, 4), evaluated(10, 4, true));
    expect((await jobOf(short!.jobId)).graft.phase.code).not.toBe('ending');
    const events = (await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${short!.jobId}/events`)).data; // prettier-ignore
    expect(events.map(({ message }) => message)).toContain(
      'Rung of the sweep at step 10: place 2 of 2 trials so far; the run has reached its last step',
    );
    await worker.finish(short!, 10);
    expect(finishCommandOf(worker, short!)).toBeUndefined();
    const [one] = await trialsOf(id);
    expect(one).toMatchObject({ status: 'succeeded', ended_at_step: null, score: 4 });
  });

  it('decides once per trial, whatever a later attempt reports', async () => {
    const body = asha({ 'peft.r': [1, 2] }, { reduction_factor: 2, rungs: [10] });
    const { id } = await create(body);
    const worker = await workerFor(body);
    const a = await startTrial(worker);
    await reachStep(worker, a, 10, 1);
    const b = await startTrial(worker);
    await reachStep(worker, b, 10, 2);
    const lost = { code: 'crash', message: 'lost', param: '', retryable: true, stderr_tail: '' };
    await worker.report(b, { kind: 'failed', payload: lost });
    await until(async () => (await jobOf(b.jobId)).status === 'queued');
    await api.query('UPDATE job SET not_before = NULL WHERE id = $1', [b.jobId]);
    const again = await startTrial(worker);
    expect(again).toMatchObject({ jobId: b.jobId });
    await reachStep(worker, again, 10, 0.5);
    // The trial still has to end, and its worker receives the command.
    await until(() => worker.commands.some((one) => one.attempt === again.attempt && one.action === Command_Action.ACTION_FINISH)); // prettier-ignore
    const [, second] = await trialsOf(id);
    expect(second?.rungs).toEqual([{ step: 10, score: 2, kept: false }]);
  });

  it('ends a trial whose loss is NaN, and ranks it last', async () => {
    const body = asha({ 'peft.r': [1, 2] }, { reduction_factor: 2, rungs: [10] });
    const { id } = await create(body);
    const worker = await workerFor(body);
    const [a, b] = [await startTrial(worker), await startTrial(worker)];
    await reachStep(worker, a, 10, NaN);
    await until(() => finishCommandOf(worker, a) !== undefined, 1_000);
    await reachStep(worker, b, 10, 9);
    expect(finishCommandOf(worker, b)).toBeUndefined();
    const trials = await trialsOf(id);
    expect(trials.map(({ rungs }) => rungs[0])).toEqual([
      { step: 10, score: null, kept: false },
      { step: 10, score: 9, kept: true },
    ]);
  });

  it('counts each trial once if several processes receive events at the same time', async () => {
    const ranks = [1, 2, 3, 4, 5, 6, 7, 8];
    const body = asha({ 'peft.r': ranks }, { reduction_factor: 2, rungs: [10] });
    const { id } = await create(body);
    const both = [await workerFor(body), await workerFor(body, beside)];
    const leases: [ScriptedWorker, Assignment][] = [];
    for (const n of ranks.keys()) {
      const worker = both[n % 2] as ScriptedWorker;
      leases.push([worker, await startTrial(worker)]);
    }
    await Promise.all(leases.map(([worker, lease], n) => reachStep(worker, lease, 10, n)));
    const events = await api.query<{ place: number; trials: number; kept: boolean }>(
      `SELECT (event.data->>'place')::int AS place, (event.data->>'trials')::int AS trials, (event.data->>'kept')::boolean AS kept
       FROM event JOIN job ON job.id = job_id WHERE sweep_id = $1 AND message LIKE 'Rung of%' ORDER BY 2`,
      [id],
    );
    // Serialized: each trial was compared with all before it.
    expect(events.map(({ trials }) => trials)).toEqual(ranks);
    for (const { place, trials, kept } of events)
      expect(kept).toBe(place <= Math.max(1, Math.floor(trials / 2)));
    // In any order, the best trial is never behind.
    expect((await trialsOf(id)).find(({ rungs }) => rungs[0]?.score === 0)?.rungs[0]?.kept).toBe(true); // prettier-ignore
  });

  it('persists decisions across a restart of the API', async () => {
    const body = asha({ 'peft.r': [1, 2] }, { reduction_factor: 2, rungs: [10] });
    const { id } = await create(body);
    const first = await workerFor(body);
    const [a, b] = [await startTrial(first), await startTrial(first)];
    await reachStep(first, a, 10, 1);
    await reachStep(first, b, 10, 2);
    const [, before] = await trialsOf(id);
    await api.restart();
    const { pool } = body.graft as { pool: string };
    const key = first.welcome?.workerKey;
    const leases = [{ jobId: b.jobId, attempt: b.attempt, step: 11 }];
    const worker = await new ScriptedWorker(api, { pool, slots: 9, leases, ...(key ? { key } : {}) }).connect(); // prettier-ignore
    workers.push(worker);
    await worker.heartbeat(leases);
    await until(() => finishCommandOf(worker, b) !== undefined);
    expect(finishCommandOf(worker, b)).toMatchObject({ step: 10 });
    const [, after] = await trialsOf(id);
    expect(after?.rungs).toEqual(before?.rungs);
  });
});
