import { expect, it } from 'vitest';
import { caughtSync } from '../../test/caught-sync.js';
import { parametersOf } from './sweep-parameters.js';

const refusal = (path: string, more: object = {}) =>
  caughtSync(() => parametersOf({ algorithm: 'grid', parameters: { [path]: [1] }, ...more }, {}));

it('rejects fields that trials must share, and objects that contain them', () => {
  expect(refusal('model')).toEqual([
    'search.parameters.model',
    'search.parameters.model: trials of a sweep must share this field; create a sweep for each value',
  ]);
  expect(refusal('graft')[1]).toBe(
    'search.parameters.graft: trials of a sweep must share graft.task; name the fields within it that differ',
  );
  expect(refusal('method')[1]).toContain('must share method.type; name the fields within it');
  for (const path of ['graft', 'method'])
    expect(refusal(path, { metric: 'eval_score' })[0]).toBe(`search.parameters.${path}`);
});

it('rejects fields that change the loss by which trials are compared', () => {
  const paths = [
    'graft.task_options.beta',
    'graft.task_options',
    'graft.max_seq_len',
    'method.dpo',
    'method.dpo.hyperparameters',
    'method.dpo.hyperparameters.beta',
  ];
  for (const path of paths) {
    expect(refusal(path)).toEqual([
      `search.parameters.${path}`,
      `search.parameters.${path}: it changes the loss by which trials are compared; use search.metric eval_score`,
    ]);
    const parameters = { [path]: [1] };
    const search = { algorithm: 'grid', metric: 'eval_score', parameters } as const;
    expect(parametersOf(search, {})).toEqual(parameters);
  }
  const others = { peft: [1], 'graft.learning_rate': [1], 'method.dpo.hyperparameters.n_epochs': [1] }; // prettier-ignore
  expect(parametersOf({ algorithm: 'grid', parameters: others }, {})).toEqual(others);
});

it('suggests the field that was meant', () => {
  expect(refusal('learning_rate')[1]).toContain('did you mean graft.learning_rate?');
});
