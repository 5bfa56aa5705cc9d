import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

const random = { peft_type: 'PVERA', r: 8, init_weights: false };

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

it('uses the mean in generation, which equals the merged weight', () => {
  const { update, merged } = q.outcome(random);
  expect(largest(merged)).toBeGreaterThan(1e-1);
  expect(worst(update, merged)).toBeLessThan(1e-5 * largest(merged));
});

it('starts as the base, also in training', () => {
  const { update, parts } = q.outcome({ peft_type: 'PVERA', r: 3, d_initial: 0.5 }, { training: true }); // prettier-ignore
  expect(largest(update)).toBe(0);
  expect([...(parts.get('pvera_lambda_d') ?? [])]).toEqual(Array.from({ length: 6 }, () => 0.5));
});

it('draws around the mean in training, depending only on step and seed', () => {
  const peft = { ...random, init_weights: false };
  const trained = q.outcome(peft, { training: true }).update;
  expect(q.outcome(peft, { training: true }).update).toEqual(trained);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
  const { update: mean } = q.outcome(peft);
  const draws = 300;
  const sums = new Float64Array(mean.length);
  for (let step = 1; step <= draws; step++)
    q.outcome(peft, { training: true, step }).update.forEach((value, i) => {
      sums[i] = (sums[i] as number) + value / draws;
    });
  // one sample deviates by its standard deviation, the mean of many by √samples less
  const off = worst(Float32Array.from(sums), mean);
  expect(worst(trained, mean)).toBeGreaterThan(1e-2 * largest(mean));
  expect(off).toBeLessThan(0.3 * worst(trained, mean));
});

it('applies dropout to inputs in training', () => {
  const trained = q.outcome({ ...random, pvera_dropout: 0.5 }, { training: true }).update;
  expect(trained).not.toEqual(q.outcome(random, { training: true }).update);
});

it('is the same if its matrices are not in the file', () => {
  const { update, parts } = q.outcome({ ...random, save_projection: false });
  expect([...parts.keys()]).toEqual(['pvera_lambda_b', 'pvera_lambda_d']);
  expect(update).toEqual(q.outcome(random).update);
});

it.each([{ sample_at_inference: true }, { generator_seed: 3 }])('rejects %o', (fields) => {
  expect(refusal({ ...random, ...fields })).toMatchObject({
    code: 'unsupported',
    param: `peft.${Object.keys(fields)[0] as string}`,
  });
});
