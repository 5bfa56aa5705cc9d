import { describe, expect, it } from 'vitest';
import { CreateJob, hyperparametersOf } from './create-job.js';
import { errorMap } from '../../http/problem.js';

const body = (peft: object) => ({
  model: 'm',
  training_file: 'file-1',
  peft: { peft_type: 'LORA', ...peft },
});

/** Returns the path and message of the first problem; null if there is none. */
function problem(value: object): string | null {
  const parsed = CreateJob.safeParse(value, { error: errorMap });
  const issue = parsed.error?.issues[0];
  return issue ? `${issue.path.join('.')}: ${issue.message}` : null;
}

describe('a PEFT config in a job', () => {
  it('may be as large as any model needs', () => {
    const paths = Array.from({ length: 500 }, (_, i) => `model.layers.${i}.self_attn.q_proj`);
    expect(problem(body({ target_modules: paths }))).toBeNull();
    expect(problem(body({ prompt_tuning_init_text: 'word '.repeat(1000) }))).toBeNull();
  });

  it.each([
    [
      { target_modules: Array<string>(200_000).fill('x.q_proj') },
      'peft.target_modules: must have at most 1,000 entries, got 200,000',
    ],
    [
      { target_modules: ['q_proj', 'v'.repeat(5000)] },
      'peft.target_modules: entry 2 must have at most 200 characters, got 5,000',
    ],
    [
      { target_modules: 'q'.repeat(9000) },
      'peft.target_modules: must have at most 8,192 characters, got 9,000',
    ],
    [
      { rank_pattern: Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`a${i}`, 1])) },
      'peft.rank_pattern: must have at most 1,000 entries, got 2,000',
    ],
    [
      { rank_pattern: { ['q'.repeat(300)]: 1 } },
      'peft.rank_pattern: a name in it must have at most 200 characters, got 300',
    ],
    [{ ['q'.repeat(300)]: 1 }, 'peft: a name in it must have at most 200 characters, got 300'],
    [
      { a: 'x'.repeat(8000), b: Array<string>(400).fill('y'.repeat(150)) },
      'peft: must have at most 60,000 characters as JSON, got 69,233',
    ],
  ])('is rejected above the limits with the name of the field: case %#', (peft, message) => {
    expect(problem(body(peft))).toBe(message);
  });
});

describe("OpenAI's method in a job", () => {
  const of = (method: object) => ({ model: 'm', training_file: 'file-1', method });

  it('has its own hyperparameters', () => {
    const hyperparameters = { beta: 0.3, n_epochs: 2, batch_size: 'auto' };
    const parsed = CreateJob.parse(of({ type: 'dpo', dpo: { hyperparameters } }));
    expect(hyperparametersOf(parsed)).toEqual(hyperparameters);
    expect(hyperparametersOf(CreateJob.parse(of({ type: 'dpo' })))).toEqual({});
    expect(hyperparametersOf({ hyperparameters: { n_epochs: 3 } })).toEqual({ n_epochs: 3 });
  });

  it.each([
    [{ type: 'reinforcement' }, 'method.type: must be one of supervised, dpo; got "reinforcement"'],
    [
      { type: 'dpo', supervised: {} },
      'method.supervised: requires method.type supervised, but method.type is dpo',
    ],
    [
      { type: 'dpo', dpo: { hyperparameters: { beta: 3 } } },
      'method.dpo.hyperparameters.beta: must be at most 2, got 3',
    ],
    [
      { type: 'supervised', supervised: { hyperparameters: { beta: 0.1 } } },
      'method.supervised.hyperparameters: Unrecognized key: "beta"',
    ],
  ])('is rejected if invalid: case %#', (method, message) => {
    expect(problem(of(method))).toBe(message);
  });
});

it('accepts integrations in OpenAI’s format and names an invalid field', () => {
  const problemOf = (...integrations: unknown[]) => problem({ ...body({}), integrations });
  const wandb = { type: 'wandb', wandb: { project: 'p' } };
  const mlflow = { type: 'mlflow', mlflow: { experiment: 'e', name: 'n', tags: { a: 'b' } } };
  expect(problem({ ...body({}), integrations: null })).toBeNull();
  expect(problemOf()).toBeNull();
  expect(problemOf(wandb, mlflow)).toBeNull();
  expect(
    problemOf({ type: 'wandb', wandb: { project: 'p', entity: null, tags: ['a'] } }),
  ).toBeNull();
  expect(problemOf({ type: 'comet' })).toBe(
    'integrations.0.type: must be one of wandb, mlflow; got "comet"',
  );
  expect(problemOf({ type: 'wandb' })).toContain(
    'integrations.0.wandb: Invalid input: expected object',
  );
  expect(problemOf(wandb, { type: 'mlflow', mlflow: {} })).toContain(
    'integrations.1.mlflow.experiment: Invalid input: expected string',
  );
  expect(problemOf(wandb, wandb)).toBe(
    'integrations.1: names wandb twice; a job supports one run of each type',
  );
  expect(problemOf({ ...wandb, wandb: { project: 'p', api_key: 'x' } })).toBe(
    'integrations.0.wandb: Unrecognized key: "api_key"',
  );
});
