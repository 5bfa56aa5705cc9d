import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = {
  peft_type: 'VBLORA',
  vector_length: 8,
  num_vectors: 9,
  init_vector_bank_bound: 1,
};

it.each([{}, { topk: 1 }, { topk: 9 }, { r: 1, vector_length: 1 }, { vector_length: 32 }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...stirred, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-1);
    expect(worst(update, merged)).toBeLessThan(1e-4);
    expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
  },
);

it('has one bank, and logits for each linear layer', () => {
  const { parts } = q.outcome({ ...stirred, r: 3 });
  expect([...parts].map(([part, { length }]) => [part, length]).sort()).toEqual([
    ['vblora_logits_A', 3 * 4 * 9],
    ['vblora_logits_B', 4 * 3 * 9],
    ['vblora_vector_bank', 9 * 8],
  ]);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...stirred, vblora_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-3);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it.each([
  [{ vector_length: 32 }, 'vector_length'],
  [{ vector_length: 8, num_vectors: 4, topk: 5 }, 'topk'],
  [{ vector_length: 8, save_only_topk_weights: true }, 'save_only_topk_weights'],
])('rejects %o before anything is loaded', (fields, field) => {
  expect(refusal({ peft_type: 'VBLORA', ...fields })).toMatchObject({ param: `peft.${field}` });
});
