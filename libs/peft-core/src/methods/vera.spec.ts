import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, worst } from '../../test/one-linear.js';

const random = { peft_type: 'VERA', r: 8, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it('the forward pass equals the merged weight', () => {
  const { update, merged } = q.outcome(random);
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base, with d_initial', () => {
  const { update, parts } = q.outcome({ peft_type: 'VERA', r: 3, d_initial: 0.5 });
  expect(largest(update)).toBe(0);
  expect([...(parts.get('vera_lambda_d') ?? [])]).toEqual([0.5, 0.5, 0.5]);
});

it('draws its matrices from the key, not from the seed of the job', () => {
  const drawn = (key: number, seed: number): Float32Array =>
    q
      .outcome({ ...random, projection_prng_key: key }, { seed })
      .parts.get('vera_A') as Float32Array;
  expect(drawn(3, 1)).toEqual(drawn(3, 2));
  expect(drawn(3, 1)).not.toEqual(drawn(4, 1));
});

it('is the same if its matrices are not in the file', () => {
  const { update, parts } = q.outcome({ ...random, save_projection: false });
  expect([...parts.keys()]).toEqual(['vera_lambda_b', 'vera_lambda_d']);
  expect(update).toEqual(q.outcome(random).update);
});

it('rounds its matrices to bf16 on a bf16 base, as in PEFT', () => {
  const half = new OneLinear('bf16');
  try {
    const { update, parts } = half.outcome(random);
    const [own, exact] = [parts, q.outcome(random).parts].map((one) => one.get('vera_A'));
    expect(own).not.toEqual(exact);
    const bits = new Uint32Array((own as Float32Array).slice().buffer);
    expect(bits.every((value) => value % 2 ** 16 === 0)).toBe(true);
    expect(worst(update, q.outcome(random).update)).toBeLessThan(0.05 * largest(update));
  } finally {
    half.close();
  }
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...random, vera_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-2);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});
