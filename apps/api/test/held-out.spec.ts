// The validation split of new jobs: its default, its rule, and the accuracy compared with the most frequent
// label.
import type {
  JobConfusionObject,
  JobObject,
  JobPreviewObject,
  MetricsObject,
  Spec,
} from '@graft/contracts';
import { splitOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { graft } from '../../../test/cli/graft.js';
import { caught, chats, importBase, startTestApi, type TestApi } from './fixture.js';
import { ScriptedWorker, started, step, evaluatedWithConfusion } from './scripted-worker.js';

let api: TestApi;
let pools = 0;

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
});
afterAll(() => api?.close());

async function upload(text: string): Promise<string> {
  const file = new File([text], 'data.jsonl');
  return (await api.client.files.create({ file, purpose: 'fine-tune' })).id;
}

const labelled = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .flatMap(([label, count]) =>
      Array.from({ length: count }, (_, n) => JSON.stringify({ text: `${label} ${n}`, label })),
    )
    .join('\n');

const pool = () => `held-out-${pools++}`;
const preview = (body: object) =>
  api.post<JobPreviewObject>('/fine_tuning/jobs/preview', { model: 'tiny', ...body });
const create = (body: object) =>
  api.post<JobObject>('/fine_tuning/jobs', { model: 'tiny', ...body });
const jobOf = (id: string) => api.get<JobObject>(`/fine_tuning/jobs/${id}`);
const eventsOf = async (id: string) =>
  (await api.client.fineTuning.jobs.listEvents(id)).data.map(({ message }) => message);

/** Connects a worker to a pool and returns the assignment of the waiting job. */
async function assigned(of: string) {
  const worker = await new ScriptedWorker(api, { pool: of }).connect();
  const lease = await worker.nextAssignment();
  return { worker, lease, spec: JSON.parse(lease.specJson) as Spec };
}

it('holds out a tenth of 50 or more records, and reports it in the preview', async () => {
  const body = { training_file: await upload(chats(60)), graft: { pool: pool() } };
  const plan = await preview(body);
  expect(plan).toMatchObject({ training: { examples: 54 }, validation: { examples: 6 } });
  const defaults = { validation_split: 0.1, eval_steps: Math.ceil(54 / plan.hyperparameters.batch_size as number) }; // prettier-ignore
  expect(plan.graft).toMatchObject(defaults);
  const job = await create(body);
  const data = { examples: 54, validation_examples: 6 };
  expect(job.graft).toMatchObject({ ...defaults, stratify_by_column: null, data });
  expect(await eventsOf(job.id)).toContain(
    `Validated training file: ${body.training_file}; held out for validation: 6 of its 60 examples`,
  );
  const { worker, spec } = await assigned(body.graft.pool);
  expect(spec).toMatchObject({ ...defaults, load_best_model_at_end: true });
  expect(spec).not.toHaveProperty('stratify_by_column');
  worker.vanish();
});

it('holds out the same records of a file for every job seed', async () => {
  const training_file = await upload(chats(60));
  const specs = await Promise.all(
    [1, 2].map(async (seed) => {
      const graft = { pool: pool() };
      expect((await create({ training_file, seed, graft })).graft).toMatchObject({
        split_seed: 42,
      });
      const { worker, spec } = await assigned(graft.pool);
      worker.vanish();
      return spec;
    }),
  );
  expect(specs).toMatchObject([1, 2].map((seed) => ({ seed, split_seed: 42 })));
  expect(splitOf(specs[0] as Spec)).toEqual(splitOf(specs[1] as Spec));
  const body = { training_file, graft: { pool: pool(), split_seed: -1 } };
  const refused = api.client.fineTuning.jobs.create({ model: 'tiny', ...body } as never);
  expect(await caught(refused as Promise<unknown>)).toMatchObject({
    status: 400,
    param: 'graft.split_seed',
  });
});

it.each([
  ['of 49 records', () => upload(chats(49)), {}],
  ['if the job disables it', () => upload(chats(60)), { validation_split: null }],
  // The default never rejects a job.
  ['of identical records', () => upload(chats(1).repeat(60)), {}],
])('holds out nothing %s', async (_, file, graft) => {
  const body = { training_file: await file(), graft: { pool: pool(), ...graft } };
  const plan = await preview(body);
  expect(plan).toMatchObject({ validation: null, graft: { validation_split: null } });
  expect((await create(body)).graft).toMatchObject({ validation_split: null, eval_steps: 0 });
});

it('rejects an explicit split that is impossible', async () => {
  const training_file = await upload(chats(1).repeat(60));
  const asked = api.client.fineTuning.jobs.create({
    model: 'tiny',
    training_file,
    graft: { validation_split: 0.1 },
  } as never);
  expect(await caught(asked as Promise<unknown>)).toMatchObject({
    status: 400,
    param: 'graft.validation_split',
  });
});

it('stratifies by label unless a job sets another rule', async () => {
  const training_file = await upload(labelled({ bad: 45, good: 15 }));
  const [by, without] = [pool(), pool()];
  const job = await create({ training_file, graft: { task: 'seq_cls', pool: by } });
  expect(job.graft).toMatchObject({ validation_split: 0.1, stratify_by_column: 'label' });
  const first = await assigned(by);
  expect(first.spec).toMatchObject({ stratify_by_column: 'label' });
  first.worker.vanish();

  const graft = { task: 'seq_cls', pool: without, stratify_by_column: null };
  const other = await create({ training_file, graft });
  expect(other.graft).toMatchObject({ validation_split: 0.1, stratify_by_column: null });
  const second = await assigned(without);
  expect(second.spec).not.toHaveProperty('stratify_by_column');
  second.worker.vanish();
});

it('does not stratify a regression', async () => {
  const lines = Array.from({ length: 60 }, (_, n) =>
    JSON.stringify({ text: `text ${n}`, label: n / 8 }),
  );
  const training_file = await upload(lines.join('\n'));
  const { graft } = await create({ training_file, graft: { task: 'seq_cls', pool: pool() } });
  expect(graft).toMatchObject({
    validation_split: 0.1,
    stratify_by_column: null,
    task_options: { problem_type: 'regression' },
  });
});

it('does not change a job of an earlier version', async () => {
  const of = pool();
  const training_file = await upload(labelled({ bad: 30, good: 30 }));
  const graft = { task: 'seq_cls', validation_split: 0.1, pool: of };
  const { id } = await create({ training_file, graft });
  await api.query(`UPDATE job SET spec = spec - 'stratify_by_column' WHERE id = $1`, [id]);
  const { worker, spec } = await assigned(of);
  expect(spec).toMatchObject({ validation_split: 0.1 });
  expect(spec).not.toHaveProperty('stratify_by_column');
  // Cloning sends this null, so the clone keeps the rule.
  expect((await jobOf(id)).graft).toMatchObject({ stratify_by_column: null });
  worker.vanish();
});

it('reports the accuracy together with that of the most frequent label', async () => {
  const of = pool();
  const training_file = await upload(labelled({ bad: 45, good: 15 }));
  const body = { training_file, suffix: 'chance', graft: { task: 'seq_cls', pool: of } };
  const { id } = await create(body);
  const { worker, lease } = await assigned(of);
  const evaluation = (at: number, loss: number, right: readonly [number, number]) => {
    const classes = [right[0], 2 - right[1], 4 - right[0], right[1], 4 - right[0], 2 - right[1]];
    const fact = evaluatedWithConfusion(at, loss, { classes, cells: [] });
    const accuracy = (right[0] + right[1]) / 6;
    return { ...fact, payload: { ...fact.payload, metrics: { loss, accuracy } } } as typeof fact;
  };
  await worker.report(lease, started(0, 2), step(1), evaluation(1, 0.9, [2, 1]));
  await worker.report(lease, step(2), evaluation(2, 0.5, [4, 1]));

  const { evaluations } = await api.get<MetricsObject>(`/fine_tuning/jobs/${id}/metrics`);
  expect(evaluations).toEqual([
    { step: 1, loss: 0.9, accuracy: 0.5, majority_accuracy: 4 / 6 },
    { step: 2, loss: 0.5, accuracy: 5 / 6, majority_accuracy: 4 / 6 },
  ]);
  expect((await jobOf(id)).graft.best).toEqual({
    step: 2,
    valid_loss: 0.5,
    accuracy: 5 / 6,
    majority_accuracy: 4 / 6,
  });
  const confusion = await api.get<JobConfusionObject>(`/fine_tuning/jobs/${id}/confusion`);
  expect(confusion).toMatchObject({ step_number: 2, examples: 6, majority_accuracy: 4 / 6 });
  const shown = await graft(api.home, ['jobs', 'chance'], '', {
    GRAFT_URL: api.url,
    GRAFT_API_KEY: api.apiKey,
  });
  expect(shown).toMatchObject({ code: 0 });
  expect(shown.out.replace(/\s+/g, ' ')).toContain(
    'Validation accuracy 83 % (always predicting the most frequent label: 67 %) at step 2',
  );
  worker.vanish();
});
