// The confusion matrix of a job's evaluations, from a worker whose events the test scripts.
import type { JobConfusionObject, JobObject } from '@graft/contracts';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { graft } from '../../../test/cli/graft.js';
import { importBase, startTestApi, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step, evaluatedWithConfusion } from './scripted-worker.js';

let api: TestApi;
let worker: ScriptedWorker | null = null;
const jobs: string[] = [];

beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3_000 });
  await importBase(api);
});
afterEach(async () => {
  worker?.vanish();
  worker = null;
  // Otherwise the next test's worker could be assigned this job again after its lease has expired.
  for (const id of jobs.splice(0))
    await api.client.fineTuning.jobs.cancel(id).catch(() => undefined);
});
afterAll(() => api?.close());

const confusionOf = (id: string, query = '') =>
  api.get<JobConfusionObject>(`/fine_tuning/jobs/${id}/confusion${query}`);

async function labelled(): Promise<JobObject> {
  const lines = ['bad', 'good', 'so-so'].map((label) => JSON.stringify({ text: label, label }));
  const file = await api.client.files.create({
    file: new File([`${lines.join('\n')}\n`.repeat(4)], 'labels.jsonl'),
    purpose: 'fine-tune',
  });
  const job = (await api.client.fineTuning.jobs.create({
    model: 'tiny',
    training_file: file.id,
    suffix: 'moods',
    graft: { task: 'seq_cls', validation_split: 0.25 },
  } as never)) as unknown as JobObject;
  jobs.push(job.id);
  return job;
}

it('returns the matrix of the best or a chosen evaluation, with precision and recall per label', async () => {
  const { id } = await labelled();
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(lease, started(0, 4), step(1));
  expect(await confusionOf(id)).toMatchObject({
    object: 'fine_tuning.job.confusion',
    steps: [],
    best_step: null,
    step_number: null,
    full: null,
    examples: null,
    majority_accuracy: null,
    classes: [],
    confused: [],
  });
  await expect(confusionOf(id, '?step=1')).rejects.toThrow(
    'no evaluation has reported a confusion matrix yet',
  );
  await worker.report(
    lease,
    evaluatedWithConfusion(1, 0.9, {
      classes: [0, 0, 2, 0, 4, 1, 1, 0, 1],
      cells: [0, 1, 2, 1, 2, 1, 2, 1, 1],
    }),
  );
  await worker.report(
    lease,
    step(2),
    evaluatedWithConfusion(2, 0.4, {
      classes: [2, 0, 0, 1, 1, 0, 1, 0, 1],
      cells: [2, 1, 1],
      examples: [2, 1, 6, 0, 0, 1, 0, 0, 4],
    }),
  );
  await worker.report(
    lease,
    step(3),
    evaluatedWithConfusion(3, 0.5, { classes: [2, 1, 0, 0, 0, 1, 2, 0, 0], cells: [1, 0, 1] }),
  );
  // Evaluated on a sample, so not compared with full evaluations.
  await worker.report(
    lease,
    step(4),
    evaluatedWithConfusion(4, 0.1, { classes: [1, 0, 0, 0, 0, 0, 0, 0, 0], cells: [] }, false),
  );

  const best = await confusionOf(id);
  expect(best).toEqual({
    object: 'fine_tuning.job.confusion',
    job_id: id,
    steps: [1, 2, 3, 4],
    best_step: 2,
    step_number: 2,
    full: true,
    examples: 5,
    majority_accuracy: 0.4,
    examples_file: expect.stringMatching(/^file-/) as string,
    classes: [
      {
        label: 'bad',
        support: 2,
        correct: 2,
        predicted: 2,
        precision: 1,
        recall: 1,
        f1: 1,
        lines: [1, 4],
      },
      {
        label: 'good',
        support: 1,
        correct: 1,
        predicted: 2,
        precision: 0.5,
        recall: 1,
        f1: 2 / 3,
        lines: [],
      },
      {
        label: 'so-so',
        support: 2,
        correct: 1,
        predicted: 1,
        precision: 1,
        recall: 0.5,
        f1: 2 / 3,
        lines: [],
      },
    ],
    confused: [{ label: 'so-so', predicted: 'good', count: 1, lines: [6] }],
  });
  const first = await confusionOf(id, '?step=1');
  expect(first).toMatchObject({ step_number: 1, best_step: 2, examples: 5 });
  expect(first.classes[0]).toMatchObject({ precision: null, recall: 0, f1: 0 });
  expect(first.confused[0]).toEqual({ label: 'bad', predicted: 'good', count: 2, lines: [] });
  for (const query of ['?step=5', '?step=best', '?step=1&step=2'])
    await expect(confusionOf(id, query)).rejects.toThrow('expected one of 1, 2, 3, 4');

  const run = (...args: string[]) =>
    graft(api.home, args, '', { GRAFT_URL: api.url, GRAFT_API_KEY: api.apiKey });
  const shown = await run('confusion', 'moods');
  expect(shown).toMatchObject({ code: 0 });
  expect(shown.out).toMatch(/good +1 +0\.500 +1\.000 +0\.667/);
  expect(shown.out).toMatch(/so-so +good +1 +6/);
  expect(shown.err).toContain(
    'step 2, on all of the validation data; other evaluations: --step 1 or 3 or 4',
  );
  const asked = await run('--json', 'confusion', id, '--step', '1');
  expect(JSON.parse(asked.out)).toEqual(first);
});

it('ignores matrices whose size does not match the labels of the job', async () => {
  const { id } = await labelled();
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(
    lease,
    started(0, 4),
    step(1),
    evaluatedWithConfusion(1, 0.9, { classes: [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0], cells: [] }),
    step(2),
    evaluatedWithConfusion(2, 0.8, { classes: [1, 0, 0, 1, 0, 0, 1, 0, 0], cells: [0, 3, 1] }),
    step(3),
    evaluatedWithConfusion(3, 0.7, { classes: [1, 0], cells: [] }),
    step(4),
    evaluatedWithConfusion(4, 0.6, {
      classes: [1, 0, 0, 1, 0, 0, 1, 0, 0],
      cells: [],
      examples: [3, 3, 1],
    }),
  );
  expect(await confusionOf(id)).toMatchObject({ steps: [], step_number: null });
  const { evaluations } = await api.get<{ evaluations: unknown[] }>(
    `/fine_tuning/jobs/${id}/metrics`,
  );
  expect(evaluations).toHaveLength(4);
});

it('returns no file id if the file was deleted', async () => {
  const { id, training_file: file } = await labelled();
  worker = await new ScriptedWorker(api).connect();
  const lease = await worker.nextAssignment();
  worker.keep(lease);
  await worker.report(
    lease,
    started(0, 1),
    step(1),
    evaluatedWithConfusion(1, 0.9, {
      classes: [1, 0, 0, 1, 0, 0, 1, 0, 0],
      cells: [],
      examples: [0, 0, 1],
    }),
  );
  expect(await confusionOf(id)).toMatchObject({ examples_file: file });
  const details = {
    message: 'the loss is not a number',
    param: '',
    retryable: false,
    stderr_tail: '',
  };
  await worker.report(lease, { kind: 'failed', payload: { code: 'nonfinite', ...details } });
  await api.client.files.delete(file as string);
  expect(await confusionOf(id)).toMatchObject({
    examples_file: null,
    classes: [{ lines: [1] }, { lines: [] }, { lines: [] }],
  });
});
