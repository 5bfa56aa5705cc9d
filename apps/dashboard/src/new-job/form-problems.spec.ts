import { CreateJob, type Catalog, type CatalogMethod, type CatalogTask } from '@graft/contracts';
import { expect, it } from 'vitest';
import { LIMITS, missingProblems, typedProblems } from './form-problems.js';
import { BLANK } from './job-draft.js';
import { configurations } from './method-list.js';

const schema = { properties: { r: { type: 'integer', minimum: 1, maximum: 4096 } } };
const method = { peft_type: 'LORA', title: 'LoRA', schema } as unknown as CatalogMethod;
const task = {
  schema: { properties: { beta: { type: 'number', exclusiveMinimum: 0 } } },
} as unknown as CatalogTask;
const catalog = {
  graft_schema: {
    properties: { learning_rate: { type: 'number', exclusiveMinimum: 0, maximum: 10 } },
  },
} as unknown as Catalog;
const chosen = { method: configurations([method])[0]!, task };

it('finds all problems, in the words of users', () => {
  const draft = {
    ...BLANK,
    n_epochs: '500',
    peft: { r: '0' },
    task_options: { beta: '0' },
    graft: { learning_rate: '1e-4 or so' },
  };
  expect(
    typedProblems(draft, chosen, catalog).map(({ label, text }) => `${label}: ${text}`),
  ).toEqual([
    'Beta: greater than 0',
    'Rank: at least 1',
    'Epochs: at most 50',
    'Learning rate: a number, not “1e-4 or so”',
  ]);
  expect(typedProblems(BLANK, chosen, catalog)).toEqual([]);
});

it('names what is missing', () => {
  expect(missingProblems(BLANK, false).map(({ label }) => label)).toEqual(['Data', 'Model']);
  expect(missingProblems({ ...BLANK, training_file: 'file-1' }, true)).toEqual([]);
});

it('has the limits of the API', () => {
  const accepts = (fields: object) =>
    CreateJob.safeParse({ model: 'm', training_file: 'f', ...fields }).success;
  for (const [name, { minimum, maximum }] of Object.entries(LIMITS)) {
    const with_ = (value: number) =>
      name === 'seed' ? { seed: value } : { hyperparameters: { [name]: value } };
    expect(accepts(with_(minimum)), name).toBe(true);
    expect(accepts(with_(maximum)), name).toBe(true);
    expect(accepts(with_(minimum - 1)), name).toBe(false);
    expect(accepts(with_(maximum + 1)), name).toBe(false);
  }
});
