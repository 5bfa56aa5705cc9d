import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { footprintOf } from './frame/base-footprint.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'FOURIERFT', n_frequency: 50, init_weights: false };

it.each([{ n_frequency: 1 }, { n_frequency: 1024 }, { scaling: 7 }, { random_loc_seed: 3 }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...stirred, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-2);
    expect(worst(update, merged)).toBeLessThan(5e-5);
    expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
  },
);

it('draws the same positions with the same seed, and others with another', () => {
  const { update } = q.outcome(stirred);
  expect(q.outcome(stirred).update).toEqual(update);
  expect(q.outcome({ ...stirred, random_loc_seed: 778 }).update).not.toEqual(update);
});

it('starts as the base, or randomly', () => {
  expect(largest(q.outcome({ ...stirred, init_weights: true }).update)).toBe(0);
});

it('rejects more positions than values before anything is loaded', () => {
  expect(refusal({ peft_type: 'FOURIERFT', n_frequency: 513 })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.n_frequency',
    message: expect.stringMatching(/the 512 values of .*v_proj, got 513/) as string,
  });
  expect(refusal({ peft_type: 'FOURIERFT', n_frequency: 512 })).toBeNull();
  expect(
    refusal({
      peft_type: 'FOURIERFT',
      n_frequency: 9,
      n_frequency_pattern: { 'self_attn.v_proj': 600 },
    }),
  ).toMatchObject({ param: 'peft.n_frequency' });
});

it('adapts the last feed-forward layer of GPT-2, whose weights are stored [in, out]', () => {
  expect(refusal({ peft_type: 'FOURIERFT', n_frequency: 9 }, 'gpt2')).toBeNull();
});

it('reserves memory for the positions of single linear layers', () => {
  const held = (n_frequency_pattern: object): number =>
    footprintOf({ peft_type: 'FOURIERFT', n_frequency: 9, n_frequency_pattern }, configOf('llama'))
      .held!.numbers!;
  expect(held({ v_proj: 500 })).toBeGreaterThan(held({}) + 500);
});
