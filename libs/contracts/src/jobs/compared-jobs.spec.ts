import { expect, it } from 'vitest';
import { comparedOptions, createBody } from './compared-jobs.js';
import { CreateJob } from './requests/create-job.js';
import type { JobObject } from './job-objects.js';

const WANDB = {
  type: 'wandb',
  wandb: { project: 'pirates', name: null, entity: 'crew', tags: ['first'] },
};
const TRACKER = {
  ...WANDB,
  graft: { status: 'done', url: 'https://wandb.example/1', error: null },
};

const job = (id: string, peft: object | null, graft: object = {}): JobObject =>
  ({
    id,
    model: 'tiny',
    training_file: 'file-1',
    validation_file: null,
    user_provided_suffix: id,
    seed: 42,
    method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 3 } } },
    peft,
    metadata: { of: id },
    integrations: [TRACKER],
    graft: { progress: { total_steps: 4 }, ...graft },
  }) as unknown as JobObject;

it('returns options by path and whether they differ, without labels', () => {
  const options = comparedOptions(
    [
      job('a', { peft_type: 'LORA', r: 8, target_modules: ['q', 'v'] }, { learning_rate: 1e-4 }),
      job('b', { peft_type: 'LORA', r: 8, target_modules: ['q'] }, { learning_rate: 1e-4, hidden: 1 }),
      job('c', null),
    ],
    ['learning_rate'],
  ); // prettier-ignore
  expect(options.filter(({ differs }) => differs)).toEqual([
    { name: 'peft.peft_type', values: ['LORA', 'LORA', undefined], differs: true },
    { name: 'peft.r', values: [8, 8, undefined], differs: true },
    { name: 'peft.target_modules', values: [['q', 'v'], ['q'], undefined], differs: true },
    { name: 'graft.learning_rate', values: [1e-4, 1e-4, undefined], differs: true },
    { name: 'peft', values: [undefined, undefined, null], differs: true },
  ]);
  expect(options.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['model', 'seed', 'method.supervised.hyperparameters.n_epochs']),
  );
  expect(options.some(({ name }) => /suffix|metadata|integrations|hidden/.test(name))).toBe(false);
});

it('repeats the request of a job with its integrations', () => {
  const body = createBody(job('a', { peft_type: 'LORA' }), []);
  expect(body['integrations']).toEqual([WANDB]);
  expect(createBody({ ...job('a', null), integrations: null }, [])).not.toHaveProperty(
    'integrations',
  );
  expect(CreateJob.parse(body).integrations).toEqual([WANDB]);
});

it('keeps null for options whose default depends on the data', () => {
  const nothing = { validation_split: null, stratify_by_column: null, split_seed: null };
  const graft = { ...nothing, max_steps: null };
  expect(createBody(job('a', null, graft), Object.keys(graft))['graft']).toEqual(nothing);
});
