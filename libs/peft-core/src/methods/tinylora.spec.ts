import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { footprintOf } from '../catalog.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'TINYLORA', init_weights: false };

it.each([{}, { r: 32, u: 3 }, { r: 50, u: 2 }, { weight_tying: 1 }, { save_projection: false }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...stirred, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-1);
    expect(worst(update, merged)).toBeLessThan(5e-4);
    expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
  },
);

it('starts as the base, or within a bound', () => {
  expect(largest(q.outcome({ peft_type: 'TINYLORA' }).update)).toBe(0);
  const within = (init_v_bound: number): number =>
    largest(q.outcome({ peft_type: 'TINYLORA', init_weights: 'uniform', init_v_bound }).update);
  expect(within(0.1)).toBeGreaterThan(0);
  expect(within(0.2) / within(0.1)).toBeCloseTo(2, 3);
});

// of 4 targets: PEFT rounds halves to even
it.each([
  [0, 4],
  [0.375, 2],
  [0.5, 2],
  [0.625, 2],
  [0.7, 1],
  [1, 1],
])('weight_tying %d makes %i groups', (weight_tying, count) => {
  const peft = { peft_type: 'TINYLORA', u: 5, weight_tying };
  expect(footprintOf(peft, configOf('llama')).trainableParameters).toBe(5 * count);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...stirred, tinylora_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-3);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('derives the matrices from the seed, and does not save them unless requested', () => {
  const matrices = (fields: object): Float32Array | undefined =>
    q.outcome({ ...stirred, ...fields }).parts.get('tinylora_P');
  expect(matrices({})).toEqual(matrices({}));
  expect(matrices({ projection_seed: 43 })).not.toEqual(matrices({}));
  expect(matrices({ save_projection: false })).toBeUndefined();
  expect(q.outcome({ ...stirred, save_projection: false }).update).toEqual(
    q.outcome(stirred).update,
  );
});

it('adapts weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'TINYLORA' }, 'gpt2')).toBeNull();
});
