import { setThreads, tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { footprintOf } from './frame/base-footprint.js';

const random = { peft_type: 'SHIRA', r: 2, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it('the forward pass equals the merged weight', () => {
  const { update, merged } = q.outcome(random);
  expect(largest(merged)).toBeGreaterThan(1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'SHIRA', r: 16 }).update)).toBe(0);
});

it('draws its positions from random_seed, not from the seed of the job', () => {
  const drawn = (random_seed: number | null, seed: number): Float32Array =>
    q.outcome({ ...random, random_seed }, { seed }).parts.get('shira_indices') as Float32Array;
  expect(drawn(3, 1)).toEqual(drawn(3, 2));
  expect(drawn(3, 1)).not.toEqual(drawn(4, 1));
  expect(drawn(null, 1)).toEqual(drawn(null, 2));
});

it('can train all values of a weight, and not more', () => {
  expect(refusal({ peft_type: 'SHIRA', r: 16, target_modules: ['q_proj'] })).toBeNull();
  expect(refusal({ peft_type: 'SHIRA', r: 17, target_modules: ['q_proj'] })).toMatchObject({
    code: 'invalid_value',
    param: 'peft.r',
  });
});

it('rejects weights with too many values to draw positions', () => {
  const config = { ...configOf('llama'), hidden_size: 16_384, intermediate_size: 16_384 };
  const peft = { peft_type: 'SHIRA', target_modules: ['up_proj'] };
  expect(() => footprintOf(peft, config)).toThrow(
    expect.objectContaining({ code: 'unsupported', param: 'peft.target_modules' }),
  );
});

it('keeps small changes on a base in bf16', () => {
  const half = new OneLinear('bf16');
  try {
    const { update } = half.outcome(random);
    expect(worst(update, q.outcome(random).update)).toBeLessThan(0.05 * largest(update));
  } finally {
    half.close();
  }
});

it('reads the positions in a file, and rejects invalid ones', () => {
  const peft = { ...random, target_modules: ['layers.0.self_attn.q_proj'] };
  const adapter = attachMethod(q.model, peft, { run: 3, seed: 1 });
  try {
    const [weight, indices] = ['shira_weight', 'shira_indices'].map(
      (part) => `model.layers.0.self_attn.q_proj.${part}`,
    ) as [string, string];
    const n = 128;
    const file = (last: number) =>
      new Map([
        [weight, tensor(new Float32Array(n), [n])],
        [indices, tensor(Int32Array.from({ length: 2 * n }, (_, i) => (i % n === n - 1 ? last : i % 32)), [2, n])], // prettier-ignore
      ]);
    adapter.load(file(31));
    expect(adapter.exported().get(indices)?.toArray()).toEqual(file(31).get(indices)?.toArray());
    expect(() => adapter.load(file(32))).toThrow(/outside its weight, which is 32 by 32/);
  } finally {
    adapter.detach();
  }
});

it('rejects weights that are stored [in, out], as in PEFT', () => {
  expect(refusal(random, 'gpt2')).toMatchObject({ code: 'unsupported', param: 'peft.peft_type' });
});
