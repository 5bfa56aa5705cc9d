// Microseconds per operator call on 2 x 2 tensors, including handle and scope: the cost of the binding.
//   node libs/kernels/test/bench/dispatch.mjs
import * as k from '../../dist/index.js';

const x = k.ones([2, 2]);
const w = k.ones([2, 2]);
w.requiresGrad = true;
const cases = {
  'transpose (a view)': () => k.transpose(x, 0, 1),
  'add (a kernel)': () => k.add(x, x),
  'add, recorded for autograd': () => k.add(w, x),
  mm: () => k.mm(x, x),
  'add_ (no result)': () => k.add_(x, 0),
  'split in 2': () => k.split(x, 1),
  'sum over a list of dims': () => k.sum(x, [0, 1], true),
};

const PER_SCOPE = 100;
const ROUNDS = 2000;
k.setThreads(1);
console.log(
  `libtorch ${k.kernelsInfo().libtorch}, best of 5 rounds of ${ROUNDS * PER_SCOPE} calls, CPU time`,
);
for (const [name, call] of Object.entries(cases)) {
  let best = Infinity;
  for (let round = 0; round < 5; round++) {
    const start = process.cpuUsage();
    for (let i = 0; i < ROUNDS; i++) {
      k.tidy(() => {
        for (let j = 0; j < PER_SCOPE; j++) call();
      });
    }
    const used = process.cpuUsage(start);
    best = Math.min(best, (used.user + used.system) / (ROUNDS * PER_SCOPE));
  }
  console.log(`${name.padEnd(30)} ${best.toFixed(2)} us`);
}
