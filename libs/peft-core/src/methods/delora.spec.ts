import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

const random = { peft_type: 'DELORA', r: 4, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([
  {},
  { delora_lambda: 0.5 },
  { rank_pattern: { q_proj: 7 }, lambda_pattern: { q_proj: 3 } },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...random, ...fields });
  expect(largest(merged)).toBeGreaterThan(1e-2);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base, with the requested bound', () => {
  const { update, parts } = q.outcome({ peft_type: 'DELORA', lambda_pattern: { q_proj: 3 } });
  expect(largest(update)).toBe(0);
  expect([...(parts.get('delora_lambda') ?? [])]).toEqual([3]);
});

it('never exceeds its bound, however large A and B are', () => {
  const far = q.outcome({ ...random, delora_lambda: 30 }).update;
  const near = q.outcome({ ...random, delora_lambda: 15 }).update;
  expect(worst(far, near.map((value) => 2 * value))).toBeLessThan(1e-5 * largest(far)); // prettier-ignore
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...random, module_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-2);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('rounds the norms of columns to bf16 on a bf16 base, as in PEFT', () => {
  const half = new OneLinear('bf16');
  try {
    const norms = half.outcome(random).parts.get('delora_w_norm') as Float32Array;
    expect([...new Uint32Array(norms.slice().buffer)].every((bits) => bits % 2 ** 16 === 0)).toBe(true); // prettier-ignore
    expect(worst(norms, q.outcome(random).parts.get('delora_w_norm') as Float32Array)).toBeLessThan(0.01 * largest(norms)); // prettier-ignore
  } finally {
    half.close();
  }
});

it('rejects weights that are stored [in, out], as in PEFT', () => {
  expect(refusal(random, 'gpt2')).toMatchObject({ code: 'unsupported', param: 'peft.peft_type' });
});
