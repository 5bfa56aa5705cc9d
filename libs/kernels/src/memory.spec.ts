/** 10,000 training steps: handles and resident memory stay flat. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import {
  adamwStep,
  add,
  counterDropout,
  counterNormal,
  counterUniform,
  crossEntropy,
  getThreads,
  gt,
  linear,
  memory,
  mul,
  select,
  setThreads,
  silu,
  tidy,
  to,
  zerosLike,
} from './index.js';
import type { Tensor } from './index.js';

const STEPS = 10_000;
const WARM_UP = 1_000;
const MAX_GROWTH_BYTES = 8e6; // a leak of one 4 kB block per step would be 37 MB

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Handles, and resident bytes that are not JavaScript's: V8's heap grows and shrinks as it pleases. */
function measured(): { tensors: number; bytes: number } {
  collect();
  const { tensors, rssBytes } = memory();
  return { tensors, bytes: rssBytes - process.memoryUsage().heapTotal };
}

it(`${STEPS} steps of a two-layer network leave memory as it was`, { timeout: 120_000 }, () => {
  const threads = getThreads();
  setThreads(1); // the network is too small for more
  const key = { seed: 11, step: 0, site: 0 };
  const parameter = (shape: number[], site: number): Tensor => {
    const t = tidy(() => mul(counterNormal(shape, { ...key, site }), 0.3));
    t.requiresGrad = true;
    return t;
  };
  const params = [
    parameter([32, 8], 1),
    parameter([32], 2),
    parameter([2, 32], 3),
    parameter([2], 4),
  ];
  const [w1, b1, w2, b2] = params as [Tensor, Tensor, Tensor, Tensor];
  const m = params.map((p) => zerosLike(p));
  const v = params.map((p) => zerosLike(p));

  const step = (n: number): number =>
    tidy(() => {
      const at = { ...key, step: n };
      const x = add(mul(counterUniform([16, 8], at), 2), -1);
      const labels = to(gt(mul(select(x, 1, 0), select(x, 1, 1)), 0), 'i64');
      const hidden = tidy(() => counterDropout(silu(linear(x, w1, b1)), 0.05, at));
      const loss = crossEntropy(linear(hidden, w2, b2), labels);
      loss.backward();
      adamwStep(
        params,
        params.map((p) => p.grad as Tensor),
        m,
        v,
        {
          lr: 3e-3,
          beta1: 0.9,
          beta2: 0.999,
          eps: 1e-8,
          weightDecay: 0,
          step: n,
        },
      );
      for (const p of params) p.zeroGrad();
      return loss.item();
    });

  let late = 0;
  let before = measured();
  for (let n = 1; n <= STEPS; n++) {
    const loss = step(n);
    if (n === WARM_UP) before = measured();
    if (n > STEPS - 1000) late += loss / 1000;
  }
  const after = measured();
  setThreads(threads);
  expect(late).toBeLessThan(0.35); // it did learn: chance is ln 2 = 0.69
  expect(after.tensors).toBe(before.tensors);
  expect(after.bytes - before.bytes).toBeLessThan(MAX_GROWTH_BYTES);
});
