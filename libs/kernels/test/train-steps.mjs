// Trains a two-layer network for 10,000 steps in a process of its own; run with --expose-gc.
// Prints {step, tensors, bytes} at intervals, where bytes is resident memory outside JavaScript, then {loss}.
import {
  adamwStep,
  add,
  counterDropout,
  counterNormal,
  counterUniform,
  crossEntropy,
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
} from '../dist/index.js';

const STEPS = 10_000;
const MARKS = [5_000, STEPS];
setThreads(1); // the network is too small for more threads
const key = { seed: 11, step: 0, site: 0 };
const parameter = (shape, site) => {
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
const [w1, b1, w2, b2] = params;
const m = params.map((p) => zerosLike(p));
const v = params.map((p) => zerosLike(p));

const step = (n) =>
  tidy(() => {
    const at = { ...key, step: n };
    const x = add(mul(counterUniform([16, 8], at), 2), -1);
    const labels = to(gt(mul(select(x, 1, 0), select(x, 1, 1)), 0), 'i64');
    const hidden = tidy(() => counterDropout(silu(linear(x, w1, b1)), 0.05, at));
    const loss = crossEntropy(linear(hidden, w2, b2), labels);
    loss.backward();
    adamwStep(
      params,
      params.map((p) => p.grad),
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
for (let n = 1; n <= STEPS; n++) {
  const loss = step(n);
  if (n > STEPS - 1000) late += loss / 1000;
  if (!MARKS.includes(n)) continue;
  globalThis.gc();
  const { tensors, rssBytes } = memory();
  const bytes = rssBytes - process.memoryUsage().heapTotal;
  console.log(JSON.stringify({ step: n, tensors, bytes }));
}
console.log(JSON.stringify({ loss: late }));
