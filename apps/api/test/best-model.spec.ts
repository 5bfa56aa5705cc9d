import type { JobEventObject, JobObject, ModelObject, Page, SweepObject } from '@graft/contracts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { caught, importBase, startTestApi, uploadChats, type TestApi } from './fixture.js';
import { evaluated, ScriptedWorker, started, step } from './scripted-worker.js';

// `load_best_model_at_end`: which jobs use it, and the published step in the job and its model.

let api: TestApi;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

const create = async (graft: object, more: object = {}): Promise<JobObject> => {
  const body = {
    model: 'tiny',
    training_file: await uploadChats(api),
    validation_file: await uploadChats(api),
    graft,
    ...more,
  };
  return (await api.client.fineTuning.jobs.create(body)) as unknown as JobObject;
};
const jobOf = (id: string) => api.get<JobObject>(`/fine_tuning/jobs/${id}`);

/** A running job, and the spec that its worker received. */
async function running(graft: object = {}, more: object = {}) {
  const pool = `best-${pools++}`;
  const job = await create({ pool, ...graft }, more);
  const worker = await new ScriptedWorker(api, { pool }).connect();
  const lease = await worker.nextAssignment();
  return { job, worker, lease, spec: JSON.parse(lease.specJson) as Record<string, unknown> };
}

it.each([
  ['with its own eval_steps', { eval_steps: 2 }, 2],
  // 12 examples with a batch size of 1
  ['with the default eval_steps', {}, 12],
])('is on by default for an adapter job with evaluations, %s', async (_, graft, every) => {
  const { job, worker, spec } = await running(graft);
  expect(spec).toMatchObject({ eval_steps: every });
  expect(job.graft.published_step).toBeNull();
  expect(spec).toMatchObject({ load_best_model_at_end: true });
  expect(spec).not.toHaveProperty('metric_for_best_model');
  worker.vanish();
});

it.each([
  ['there is no validation data', { eval_steps: 2 }, { validation_file: null }],
  ['evaluation runs only at the end', { eval_steps: 0 }, {}],
  ['there is only one epoch', {}, { hyperparameters: { n_epochs: 1 } }],
  ['it is set to false', { eval_steps: 2, load_best_model_at_end: false }, {}],
  ['the whole model is trained', { eval_steps: 2 }, { peft: null }],
])('is off for a job where %s', async (_, graft, more) => {
  const { worker, spec } = await running(graft, more);
  expect(spec).not.toHaveProperty('load_best_model_at_end');
  worker.vanish();
});

it.each([
  [{ eval_steps: 2 }, { validation_file: null }, 'a validation_file or graft.validation_split'],
  [{ eval_steps: 0 }, {}, 'graft.eval_steps above 0'],
  [{ eval_steps: 2 }, { peft: null }, 'full fine-tuning keeps only its last model'],
])('is rejected if it is impossible: %j %j', async (graft, more, message) => {
  const asked = create({ ...graft, load_best_model_at_end: true }, more);
  expect(await caught(asked as Promise<unknown>)).toMatchObject({
    status: 400,
    param: 'graft.load_best_model_at_end',
    message: expect.stringContaining(message),
  });
});

it('is reported by the job, its model and an event', async () => {
  const { job, worker, lease } = await running({ eval_steps: 1 });
  await worker.report(lease, started(0, 3), step(1), evaluated(1, 2), step(2), evaluated(2, 3));
  await worker.report(lease, step(3), evaluated(3, 4, true));
  await worker.finish(lease, 3, { published_step: 1 });
  const { graft, fine_tuned_model: name } = await jobOf(job.id);
  expect(graft).toMatchObject({ published_step: 1, progress: { step: 3 } });
  const model = await api.get<ModelObject>(`/models/${encodeURIComponent(name ?? '')}`);
  expect(model.graft).toMatchObject({ job: job.id, step: 1 });
  const { data } = await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${job.id}/events`);
  const event = data.find(({ message }) => message.startsWith('The model holds'));
  expect(event).toMatchObject({
    message:
      'The model holds the weights after step 1, the best evaluation; those after step 3 are a checkpoint',
    data: { published_step: 1, step: 3 },
  });
  worker.vanish();
});

it('publishes the last step if the worker reports no other', async () => {
  const { job, worker, lease } = await running();
  await worker.report(lease, started(0, 3), step(1), step(2), step(3));
  await worker.finish(lease, 3);
  const { graft } = await jobOf(job.id);
  expect(graft.published_step).toBe(3);
  const { data } = await api.get<Page<JobEventObject>>(`/fine_tuning/jobs/${job.id}/events`);
  expect(data.map(({ message }) => message).join('\n')).not.toContain('The model holds');
  worker.vanish();
});

it('determines the score by which sweep trials are compared', async () => {
  const pool = `best-${pools++}`;
  const { id } = await api.post<SweepObject>('/sweeps', {
    model: 'tiny',
    training_file: await uploadChats(api),
    validation_file: await uploadChats(api),
    graft: { pool, eval_steps: 1 },
    search: { algorithm: 'grid', parameters: { 'peft.r': [1, 2] } },
  });
  const worker = await new ScriptedWorker(api, { pool, slots: 2 }).connect();
  const [early, late] = [await worker.nextAssignment(), await worker.nextAssignment()];
  await worker.report(early, started(0, 3), evaluated(1, 1), evaluated(3, 3, true));
  await worker.finish(early, 3, { published_step: 1 });
  await worker.report(late, started(0, 3), evaluated(1, 4), evaluated(3, 2, true));
  await worker.finish(late, 3);
  const { trials = [], winner } = await api.get<SweepObject>(`/sweeps/${id}`);
  expect(trials.map(({ job, score }) => [job, score])).toEqual([
    [early.jobId, 1],
    [late.jobId, 2],
  ]);
  expect(winner).toMatchObject({ job: early.jobId, score: 1 });
  // If the published step has no evaluation, the last evaluation counts.
  await api.query('DELETE FROM evaluation WHERE job_id = $1 AND step = 1', [early.jobId]);
  expect((await api.get<SweepObject>(`/sweeps/${id}`)).winner).toMatchObject({ job: late.jobId });
  worker.vanish();
});
