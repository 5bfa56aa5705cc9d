import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { checkPeft } from '../catalog.js';
import { factored } from './lokr.js';

const random = { peft_type: 'LOKR', init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([
  [256, -1, [16, 16]],
  [128, -1, [8, 16]],
  [127, -1, [1, 127]],
  [128, 4, [4, 32]],
  [128, 64, [64, 2]],
  [90, 7, [6, 15]],
  [2, -1, [1, 2]],
  [1, -1, [1, 1]],
])('%i by %i is factorized like in PEFT', (size, factor, expected) => {
  expect(factored(size, factor)).toEqual(expected);
});

it.each([
  {},
  { r: 2, decompose_both: true, decompose_factor: 8 },
  { r: 1, decompose_factor: 2 },
  { r: 1, decompose_factor: 16 },
  { r: 40, alpha: 5 },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...random, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-3);
  expect(worst(update, merged)).toBeLessThan(2e-5);
});

it('starts as the base with both initializations', () => {
  for (const init_weights of [true, 'lycoris'])
    expect(largest(q.outcome({ peft_type: 'LOKR', init_weights }).update)).toBe(0);
});

it.each([true, false])(
  'applies rank dropout in training, different in each step; rescaled: %s',
  (scaled) => {
    const peft = { ...random, rank_dropout: 0.5, rank_dropout_scale: scaled };
    const { update, merged, out } = q.outcome(peft, { training: true });
    const isKept = Array.from({ length: out }, (_, o) => update[o] !== 0);
    const share = isKept.filter(Boolean).length / out;
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(1);
    const weight = scaled ? 1 / share : 1;
    const expected = merged.map((value, i) => (isKept[i % out] ? value * weight : 0));
    expect(worst(update, expected)).toBeLessThan(2e-5);
    expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(update);
  },
);

it('disables the update of a linear layer in some training steps', () => {
  const peft = { ...random, module_dropout: 0.25 };
  const left = Array.from({ length: 64 }, (_, step) =>
    q.outcome(peft, { training: true, step }).update.every((value) => value === 0),
  ).filter(Boolean).length;
  expect(left / 64).toBeGreaterThan(0.1);
  expect(left / 64).toBeLessThan(0.4);
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'LOKR' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});

it.each([0, -2, 1.5])('rejects a decompose_factor of %d', (factor) => {
  expect(() => checkPeft({ peft_type: 'LOKR', decompose_factor: factor })).toThrow(
    expect.objectContaining({ param: 'peft.decompose_factor' }),
  );
});
