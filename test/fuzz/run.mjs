#!/usr/bin/env node
// Fuzzes the compiled parsers of untrusted input and prints the results.
//   node test/fuzz/run.mjs [--iterations 300] [--seed 1] [--only NAME]… [--seconds 60]
//     [--at ITERATION]
// Slow parsers get a share of the iterations, and none runs longer than `seconds`. Exits with 1 on a finding. `--only
// NAME --seed SEED --at N` repeats one input; `--targets FILE` runs other parsers.
import { readdirSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { fuzz } from './fuzz.mjs';

const HANGS_S = 60;
const { values: flags } = parseArgs({
  options: {
    iterations: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', multiple: true },
    seconds: { type: 'string', default: 'Infinity' },
    at: { type: 'string' },
    targets: { type: 'string' },
  },
});

const folder = new URL('targets/', import.meta.url);
const files = flags.targets
  ? [pathToFileURL(flags.targets)]
  : readdirSync(folder).map((file) => new URL(file, folder));
const modules = await Promise.all(files.map((file) => import(file)));
const targets = modules
  .flatMap((module) => module.targets)
  .filter(({ name }) => flags.only === undefined || flags.only.some((text) => name.includes(text)));

// A parser that hangs blocks this thread, so another one must report it.
const progress = new Int32Array(new SharedArrayBuffer(8));
const watch = `const { workerData: [progress, names] } = require('node:worker_threads');
let last = '', since = Date.now();
setInterval(() => {
  const now = progress.join();
  if (now !== last) [last, since] = [now, Date.now()];
  if (Date.now() - since < ${HANGS_S * 1000}) return;
  require('node:fs').writeSync(2, names[progress[0]] + ' hangs at iteration ' + progress[1] + '\\n');
  process.kill(process.pid, 'SIGKILL');
}, 1000);`;
new Worker(watch, {
  eval: true,
  execArgv: [],
  workerData: [progress, targets.map(({ name }) => name)],
}).unref();

console.log('| parser | iterations | accepted | rejected | findings |\n|---|---|---|---|---|');
for (const [index, target] of targets.entries()) {
  const { share = 1 } = target;
  const counts = await fuzz(target, {
    seed: Number(flags.seed),
    iterations: Math.max(3, Math.ceil(Number(flags.iterations) * share)),
    seconds: Number(flags.seconds),
    ...(flags.at !== undefined && { at: Number(flags.at) }),
    each: (iteration) => {
      progress[0] = index;
      progress[1] = iteration;
    },
  });
  const { name, iterations, accepted, refused, findings, first } = counts;
  console.log(`| ${[name, iterations, accepted, refused, findings].join(' | ')} |`);
  for (const { iteration, problem, input } of first.values())
    console.error(`${name}, iteration ${iteration}: ${problem}\n  ${input}`);
  if (findings > 0) process.exitCode = 1;
}
for (const { end } of modules) end?.();
