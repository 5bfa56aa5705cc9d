import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { largest, OneLinear, refusal, worst } from '../../test/one-linear.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const stirred = { peft_type: 'UNILORA', init_weights: false };

// q has 4 × 64 values in A and B at rank 4
it.each([{}, { r: 1 }, { theta_d_length: 7 }, { theta_d_length: 5000 }])(
  '%o: the forward pass equals the merged weight',
  (fields) => {
    const { update, merged } = q.outcome({ ...stirred, ...fields });
    expect(largest(merged)).toBeGreaterThan(1e-1);
    expect(worst(update, merged)).toBeLessThan(2e-4);
    expect(q.inputGradientError({ ...stirred, ...fields })).toBeLessThan(1e-5);
  },
);

it('has one vector, which starts within its bound', () => {
  const { parts } = q.outcome({ peft_type: 'UNILORA', init_theta_d_bound: 0.5 });
  expect([...parts.keys()]).toEqual(['unilora_theta_d']);
  const most = largest(parts.get('unilora_theta_d') as Float32Array);
  expect(most).toBeLessThanOrEqual(0.5);
  expect(most).toBeGreaterThan(0.45);
});

it('draws the same positions with the same seed, and others with another', () => {
  const { update } = q.outcome(stirred);
  expect(q.outcome(stirred).update).toEqual(update);
  expect(q.outcome({ ...stirred, proj_seed: 43 }).update).not.toEqual(update);
});

it('applies dropout to inputs in training, different in each step', () => {
  const peft = { ...stirred, unilora_dropout: 0.5 };
  const trained = q.outcome(peft, { training: true }).update;
  expect(worst(trained, q.outcome(peft).update)).toBeGreaterThan(1e-3);
  expect(q.outcome(peft, { training: true, step: 2 }).update).not.toEqual(trained);
});

it('rejects a file that contains positions', () => {
  expect(refusal({ peft_type: 'UNILORA', save_indices: true })).toMatchObject({
    code: 'unsupported',
    param: 'peft.save_indices',
  });
});
