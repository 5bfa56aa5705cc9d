import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, worst } from '../../test/one-linear.js';

const random = { peft_type: 'RANDLORA', r: 5, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it.each([{}, { r: 32 }, { r: 40 }, { sparse: true }, { very_sparse: true, randlora_alpha: 5 }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...random, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-1);
    expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
  },
);

it('starts as the base', () => {
  expect(largest(q.outcome({ peft_type: 'RANDLORA', r: 4 }).update)).toBe(0);
});

it('draws its matrices from the key, and is the same if they are not in the file', () => {
  const drawn = (key: number, seed: number): Float32Array =>
    q.outcome({ ...random, projection_prng_key: key }, { seed }).parts.get('randlora_B') as Float32Array; // prettier-ignore
  expect(drawn(3, 1)).toEqual(drawn(3, 2));
  expect(drawn(3, 1)).not.toEqual(drawn(4, 1));
  const { update, parts } = q.outcome({ ...random, save_projection: false });
  expect([...parts.keys()]).toEqual(['randlora_lambda', 'randlora_gamma']);
  expect(update).toEqual(q.outcome(random).update);
});

it('has sparse matrices of -1, 0 and 1, divided by their deviation', () => {
  const shares = [{ sparse: true }, { very_sparse: true }].map((fields) => {
    const b = [...(q.outcome({ ...random, ...fields }).parts.get('randlora_B') as Float32Array)];
    expect(new Set(b.map(Math.abs)).size).toBe(2);
    return b.filter((value) => value !== 0).length / b.length;
  });
  expect(shares[0]).toBeCloseTo(1 / 3, 1);
  expect(shares[1]).toBeCloseTo(1 / Math.sqrt(32), 1);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...random, randlora_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-2);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});
