#!/usr/bin/env node
// `npm run test:all`: all tests, including those that are too slow for `npm test`. It runs, one after the other,
//
//   1. every spec in its complete form (tools/run-tests.mjs --all): emulated CUDA and AMX, full matrices, parity with Python,
//      the long chaos battery;
//   2. the numerical specs once for each older instruction set that this processor has;
//   3. the mutations (test/mutations/run.mjs).
//
// With arguments, it runs only part 1 with these arguments. The last line has the totals of all parts; a mutation counts as
// a test.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NUMERICAL = ['libs/kernels', 'libs/peft-core', 'test/golden', 'test/pack'];
/** Older instruction sets, as GRAFT_ISA names them. The newest one is what part 1 runs on. */
const OLDER_SETS = ['generic', 'avx2', 'avx512'];

const runTests = join(ROOT, 'tools/run-tests.mjs');
const given = process.argv.slice(2);

const parts = [{ name: 'every spec', args: [runTests, '--all', ...given] }];
if (given.length === 0) {
  for (const set of await setsToRun())
    parts.push({
      name: `GRAFT_ISA=${set}`,
      args: [runTests, ...NUMERICAL],
      env: { GRAFT_ISA: set, GRAFT_TEST_TIER: 'default' },
    });
  parts.push({ name: 'mutations', args: [join(ROOT, 'test/mutations/run.mjs')] });
}

/** Set by Ctrl-C or SIGTERM. The current part gets the signal, and the others do not start. */
let isStopped = false;

const results = [];
for (const { name, args, env } of parts) {
  if (isStopped) break;
  process.stdout.write(`\n=== ${name} ===\n`);
  const began = Date.now();
  const { code, last } = await run(args, env);
  results.push({ name, code, seconds: Math.round((Date.now() - began) / 1000), ...counts(last) });
}
process.stdout.write('\n');
for (const { name, code, seconds, ...count } of results)
  process.stdout.write(
    `${code === 0 ? 'passed' : 'FAILED'}: ${name} in ${seconds} s, ${line(count)}\n`,
  );
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
const failed = isStopped || results.some(({ code }) => code !== 0);
const total = { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
// A part that exits with an error has failed, even if none of its tests did.
if (failed && total.failed === 0) total.failed = 1;
process.stdout.write(`${line(total)}\n`);
process.exit(failed ? 1 : 0);

async function setsToRun() {
  const { instructionSets } = await import(
    pathToFileURL(join(ROOT, 'libs/kernels/dist/index.js')).href
  );
  const here = instructionSets();
  return OLDER_SETS.filter((set) => here.includes(set));
}

/** Runs a Node program with visible output. Returns its exit code and last line. */
function run(args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let tail = '';
    child.stdout.on('data', (bytes) => {
      process.stdout.write(bytes);
      tail = (tail + bytes.toString()).slice(-4000);
    });
    const passOn = (signal) => {
      isStopped = true;
      child.kill(signal);
    };
    process.on('SIGINT', passOn).on('SIGTERM', passOn);
    child.once('error', reject);
    child.once('close', (code) => {
      process.off('SIGINT', passOn).off('SIGTERM', passOn);
      resolve({ code: code ?? 1, last: tail.trimEnd().split('\n').at(-1) ?? '' });
    });
  });
}

/** Reads `N passed, N failed, N skipped`, or the mutations' `N of M mutations caught`. */
function counts(last) {
  const [, caught, planted] = /^(\d+) of (\d+) mutations caught$/.exec(last) ?? [];
  if (planted !== undefined)
    return { passed: Number(caught), failed: Number(planted) - Number(caught), skipped: 0 };
  const [, passed = 0, failed = 0, skipped = 0] =
    /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(last) ?? [];
  return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) };
}

function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
