import {
  backward,
  clone,
  copy_,
  counterNormal,
  mul,
  noGrad,
  setThreads,
  sum,
  tidy,
  type Tensor,
} from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configOf, largest, OneLinear, refusal, worst } from '../../test/one-linear.js';
import { attachMethod } from './frame/attach-method.js';
import { checkPeft } from '../catalog.js';
import { footprintOf } from './frame/base-footprint.js';
import type { Adapter } from './method.js';

let q: OneLinear;
beforeAll(() => {
  setThreads(1);
  q = new OneLinear();
});
afterAll(() => q.close());

const small = { peft_type: 'ADAMSS', r: 8, num_subspaces: 3 };
const random = { ...small, init_weights: null };

it.each([
  {},
  { num_subspaces: 1, r: 100 },
  { num_subspaces: 32 },
  { subspace_rank: 3 },
  { subspace_rank: 8, use_dynamic_rank: true },
])('%o: the forward pass equals the merged weight', (fields) => {
  const { update, merged } = q.outcome({ ...random, ...fields });
  expect(largest(merged)).toBeGreaterThan(5e-3);
  expect(worst(update, merged)).toBeLessThan(5e-6);
  expect(q.inputGradientError({ ...random, ...fields })).toBeLessThan(1e-5);
});

it('starts as the base, also in bf16', () => {
  expect(largest(q.outcome(small).update)).toBe(0);
  const half = new OneLinear('bf16');
  try {
    expect(largest(half.outcome(small).update)).toBe(0);
    expect(largest(half.outcome({ ...random, num_subspaces: 1 }).update)).toBeGreaterThan(0.01);
  } finally {
    half.close();
  }
});

// two layers of q, 32 by 32
it('counts the parameters of each cluster and each output', () => {
  const trained = (fields: object): number =>
    footprintOf({ ...small, target_modules: ['q_proj'], ...fields }, configOf('llama'))
      .trainableParameters;
  expect(trained({})).toBe(2 * (3 * 8 + 32));
  expect(trained({ subspace_rank: 2, num_subspaces: 4 })).toBe(2 * 2 * (4 * 8 + 32));
});

const attached = (fields: object): Adapter =>
  attachMethod(q.model, { ...random, target_modules: ['q_proj'], ...fields }, { run: 2, seed: 1 });

it('rejects a file whose clusters differ from those of the base', () => {
  const stored = attached({ random_seed: 5 });
  const file = tidy(() => new Map([...stored.exported()].map(([name, one]) => [name, clone(one)])));
  stored.detach();
  const same = attached({ random_seed: 5 });
  expect(() => same.load(file)).not.toThrow();
  same.detach();
  const other = attached({});
  expect(() => other.load(file)).toThrow(
    expect.objectContaining({
      code: 'invalid_adapter',
      message: expect.stringMatching(
        /clusters of model\.layers\.0\.self_attn\.q_proj have \d+, \d+, \d+ outputs.*files do not contain/,
      ) as string,
    }),
  );
  other.detach();
});

const adaptive = {
  ...{ num_subspaces: 4, use_asa: true, asa_target_subspaces: 3 },
  ...{ init_warmup: 0, final_warmup: 4, mask_interval: 2 },
};

/** Performs steps without an optimizer; each step has its own gradients. */
function step(adapter: Adapter, from: number, to: number): void {
  for (let at = from; at < to; at++)
    tidy(() => {
      const training = [...adapter.parameters.values()].filter((one) => one.requiresGrad);
      training.forEach((one, i) => {
        const gradient = counterNormal(one.shape, { seed: 3, step: at, site: i });
        backward([sum(mul(one, gradient))], [null]);
      });
      adapter.afterStep?.(at + 1);
      training.forEach((one) => one.zeroGrad());
    });
}

const training = ({ parameters }: Adapter): string[] =>
  [...parameters].filter(([, one]) => one.requiresGrad).map(([name]) => name);

it('stops the least important clusters, also after resuming', () => {
  const whole = attached(adaptive);
  step(whole, 0, 2);
  // of 8, of which 3 remain at the end
  expect(training(whole)).toHaveLength(2 * 8);
  step(whole, 2, 3);
  // 3 + 5 / 2³ = 3.6: those above the third
  expect(training(whole)).toHaveLength(2 * 2);
  const again = attached(adaptive);
  const all = (adapter: Adapter) => new Map([...adapter.parameters, ...(adapter.state?.() ?? [])]);
  const kept = all(whole);
  noGrad(() => all(again).forEach((one, name) => copy_(one, kept.get(name) as Tensor)));
  expect(training(again)).toHaveLength(2 * 8);
  again.restored?.();
  expect(training(again)).toEqual(training(whole));
  step(whole, 3, 6);
  step(again, 3, 6);
  expect(training(again)).toEqual(training(whole));
  whole.detach();
  again.detach();
});

it.each<[object, string, RegExp, string?]>([
  [{ r: 16 }, 'r', /expected r < 16, the outputs of .*v_proj, got 16/],
  [{ subspace_rank: 9 }, 'subspace_rank', /≤ 8, the directions of .*q_proj, got 9/],
  [{ use_asa: true, init_warmup: 9, final_warmup: 9 }, 'init_warmup', /< final_warmup.*got 9/],
  [{ use_asa: true, asa_target_subspaces: 1 }, 'asa_target_subspaces', /≥ 2, got 1/],
  [{ init_weights: 'random' }, 'init_weights', /orthogonal/],
  [{}, 'peft_type', /Conv1D/, 'gpt2'],
])('rejects %o', (fields, param, message, family = 'llama') => {
  expect(refusal({ ...small, ...fields }, family)).toMatchObject({
    param: `peft.${param}`,
    message: expect.stringMatching(message) as string,
  });
});

it.each([
  [{ mask_interval: 7 }, 'mask_interval'],
  [{ svd_threshold: 0.5 }, 'svd_threshold'],
])('rejects a job with unused options: %o', (fields, field) => {
  expect(() => checkPeft({ ...small, ...fields }, 'llama')).toThrow(
    expect.objectContaining({ param: `peft.${field}` }),
  );
});
