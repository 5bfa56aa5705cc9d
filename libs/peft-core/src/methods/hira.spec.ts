import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

const random = { peft_type: 'HIRA', r: 2, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([{}, { r: 40 }])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...random, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base, with A uniform or normal', () => {
  const started = (init_weights: unknown): Float32Array => {
    const { update, parts } = q.outcome({ peft_type: 'HIRA', r: 8, init_weights });
    expect(largest(update)).toBe(0);
    return parts.get('hira_A') as Float32Array;
  };
  expect(largest(started(true))).toBeLessThanOrEqual(1 / Math.sqrt(32));
  expect(largest(started('gaussian'))).toBeGreaterThan(2 / 8);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...random, hira_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-2);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('rejects a rank_pattern, which PEFT ignores', () => {
  expect(refusal({ ...random, rank_pattern: { q_proj: 2 } })).toMatchObject({
    code: 'unsupported',
    param: 'peft.rank_pattern',
  });
  expect(refusal({ ...random, rank_pattern: {} })).toBeNull();
});
