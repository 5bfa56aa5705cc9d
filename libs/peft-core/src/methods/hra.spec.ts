import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { withJobDefaults } from './frame/config.js';

const stirred = { peft_type: 'HRA', init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([{ r: 1 }, { r: 5 }, { r: 4, apply_GS: true }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...stirred, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-1);
    expect(worst(update, merged)).toBeLessThan(2e-5);
  },
);

it('starts with equal pairs, as the base, if their number is even', () => {
  const { update, parts } = q.outcome({ peft_type: 'HRA', r: 4 });
  expect(largest(update)).toBeLessThan(1e-5);
  const u = parts.get('hra_u') as Float32Array;
  expect(new Set(u).size).toBe(u.length / 2);
  expect(largest(q.outcome({ peft_type: 'HRA', r: 3 }).update)).toBeGreaterThan(1e-1);
});

it('starts randomly with orthogonal reflections, because equal ones are not orthogonal', () => {
  expect(withJobDefaults({ peft_type: 'HRA', apply_GS: true })).toMatchObject({
    init_weights: false,
  });
  expect(withJobDefaults({ peft_type: 'HRA' })).toEqual({ peft_type: 'HRA' });
});

it('rejects weights that are stored [in, out]', () => {
  expect(refusal({ peft_type: 'HRA' }, 'gpt2')).toMatchObject({
    code: 'unsupported',
    param: 'peft.peft_type',
  });
});
