import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it('adds the same to every row', () => {
  const { update, parts, out } = q.outcome({ peft_type: 'BEFT', init_weights: false });
  const bias = parts.get('beft_bias') as Float32Array;
  expect(largest(bias)).toBeGreaterThan(1e-1);
  update.forEach((value, i) => expect(value).toBeCloseTo(bias[i % out] as number, 5));
});

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'BEFT' }).update)).toBe(0);
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'BEFT' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
