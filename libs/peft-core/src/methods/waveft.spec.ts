import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { footprintOf } from './frame/base-footprint.js';
import { FILTERS, synthesis } from './reference-math/wavelets.js';
import type { Wavelet } from './reference-math/wavelets.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'WAVEFT', n_frequency: 50, init_weights: false };

it.each([
  {},
  { n_frequency: 1024 },
  { use_idwt: false },
  ...['db2', 'db10', 'sym5', 'coif2', 'coif4'].map((wavelet_family) => ({ wavelet_family })),
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...stirred, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-2);
  expect(worst(update, merged)).toBeLessThan(5e-5);
  expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
});

// PEFT's table of coif4 does not have this property
it.each((Object.keys(FILTERS) as Wavelet[]).filter((name) => name !== 'coif4'))(
  '%s: both filters have length 1 and are orthogonal',
  (name) => {
    const [low, high] = synthesis(name);
    const product = (a: readonly number[], b: readonly number[], shift = 0): number =>
      a.reduce((sum, value, i) => sum + value * (b[i + shift] ?? 0), 0);
    expect(low.reduce((a, b) => a + b)).toBeCloseTo(Math.SQRT2, 6);
    expect(high.reduce((a, b) => a + b)).toBeCloseTo(0, 6);
    for (const [a, b] of [
      [low, low],
      [high, high],
    ] as const) {
      expect(product(a, b)).toBeCloseTo(1, 6);
      expect(product(a, b, 2)).toBeCloseTo(0, 6);
    }
    expect(product(low, high)).toBeCloseTo(0, 6);
  },
);

it.each([
  [{ wavelet_family: 'coif5' }, 'wavelet_family'],
  [{ proportional_parameters: true }, 'proportional_parameters'],
])('rejects %o, naming the field', (fields, field) => {
  expect(refusal({ peft_type: 'WAVEFT', n_frequency: 9, ...fields })).toMatchObject({
    param: `peft.${field}`,
  });
});

it('draws the same positions with the same seed, and others with another', () => {
  const { update } = q.outcome(stirred);
  expect(q.outcome(stirred).update).toEqual(update);
  expect(q.outcome({ ...stirred, random_loc_seed: 778 }).update).not.toEqual(update);
});

it('starts as the base, or randomly', () => {
  expect(largest(q.outcome({ ...stirred, init_weights: true }).update)).toBe(0);
});

it('rejects more positions than values before anything is loaded', () => {
  expect(refusal({ peft_type: 'WAVEFT', n_frequency: 513 })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.n_frequency',
    message: expect.stringMatching(/the 512 values of .*v_proj, got 513/) as string,
  });
  expect(refusal({ peft_type: 'WAVEFT', n_frequency: 512 })).toBeNull();
  expect(
    refusal({
      peft_type: 'WAVEFT',
      n_frequency: 9,
      n_frequency_pattern: { 'self_attn.v_proj': 600 },
    }),
  ).toMatchObject({ param: 'peft.n_frequency' });
});

it('adapts the last feed-forward layer of GPT-2, whose weights are stored [in, out]', () => {
  expect(refusal({ peft_type: 'WAVEFT', n_frequency: 9 }, 'gpt2')).toBeNull();
});

it('reserves memory for the positions of single linear layers', () => {
  const held = (n_frequency_pattern: object): number =>
    footprintOf({ peft_type: 'WAVEFT', n_frequency: 9, n_frequency_pattern }, configOf('llama'))
      .held!.numbers!;
  expect(held({ v_proj: 500 })).toBeGreaterThan(held({}) + 500);
});
