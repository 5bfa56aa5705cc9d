// The real trainer, except that runs with certain seeds fail, each in its own way at a certain work mark.
// (The trainer sets a mark before each piece of its work.)
// Two files in $GRAFT_TEST_DIR make the outcome independent of the machine's speed. While `hold` exists, runs
// wait until as many as it says have arrived, and start together. While `pace` exists, each piece of work
// takes at least as many milliseconds as it says.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { zeros } from '@graft/kernels';

const { Trainer } = await import('../../apps/worker/dist/trainer/trainer.js');
const { WorkMark } = await import('../../apps/worker/dist/trainer/work-mark.js');
const { GenerationScheduler } =
  await import('../../apps/worker/dist/trainer/generation-scheduler.js');

/**
 * Mark within a step: a run's first mark is reading its data, then each step has two. Checkpoints are saved
 * in the second one.
 */
const IN_A_STEP = 10;
const clock = new Int32Array(new SharedArrayBuffer(4));
const die = (signal) => {
  process.kill(process.pid, signal);
  Atomics.wait(clock, 0, 0); // wait until the signal is delivered
};

/** Failures by seed: the work mark at which they happen, and the failure. */
const POISONS = {
  9001: { at: IN_A_STEP, act: () => die('SIGSEGV') },
  9002: { at: IN_A_STEP, act: () => die('SIGKILL') },
  9003: { at: IN_A_STEP, act: () => Atomics.wait(clock, 0, 0) },
  9004: {
    at: IN_A_STEP,
    act: () => {
      throw new Error('poison in the forward');
    },
  },
  // Fails in libtorch: no machine has this much memory.
  9005: { at: IN_A_STEP, act: () => zeros([2 ** 50]) },
  9006: { at: 1, act: () => die('SIGKILL') },
  9007: { at: IN_A_STEP, act: (run) => (run.saving = true) },
  9008: { at: IN_A_STEP, act: (run) => run.say() },
  9009: { at: IN_A_STEP, act: () => process.stdout.write('a library says something\n') },
  9010: {
    at: IN_A_STEP,
    act: () => {
      process.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n");
      die('SIGABRT');
    },
  },
};

const poisoned = new Map();
let current = null;

const { GRAFT_TEST_DIR: dir } = process.env;
const [holdFile, paceFile] = dir ? [join(dir, 'hold'), join(dir, 'pace')] : [];
const numberIn = (file) => (file && fs.existsSync(file) ? Number(fs.readFileSync(file)) : 0);
const held = [];

const { handle } = Trainer.prototype;
Trainer.prototype.handle = function (command) {
  const company = command.type === 'start' ? numberIn(holdFile) : 0;
  if (company === 0) return begin.call(this, command);
  held.push(command);
  if (held.length < company) return undefined;
  fs.rmSync(holdFile);
  for (const each of held.splice(0)) begin.call(this, each);
};

function begin(command) {
  const poison = command.type === 'start' ? POISONS[command.spec.seed] : undefined;
  if (poison) {
    const { jobId, attempt } = command;
    const file = { name: 'n'.repeat(200), sha256: 'a'.repeat(64), size: 1 };
    const files = Array(20_000).fill(file);
    const say = () => {
      const run = this.runs.find({ jobId, attempt });
      this.runs.report(run, {
        type: 'saved',
        step: run.step,
        dir: '',
        files,
        adapter: files,
        best: false,
      });
    };
    poisoned.set(`${jobId}/${attempt}`, { poison, marks: 0, saving: false, say });
  }
  return handle.call(this, command);
}

const { runs } = WorkMark.prototype;
WorkMark.prototype.runs = function (keys) {
  runs.call(this, keys);
  const pace = numberIn(paceFile);
  if (pace > 0) Atomics.wait(clock, 0, 0, pace);
  current =
    keys.length === 1 ? (poisoned.get(`${keys[0].jobId}/${keys[0].attempt}`) ?? null) : null;
  if (current === null) return;
  current.marks += 1;
  if (current.marks >= current.poison.at) current.poison.act(current);
};

const { renameSync } = fs;
fs.renameSync = (from, to) => {
  if (current?.saving && String(to).includes('checkpoint-')) die('SIGKILL');
  renameSync(from, to);
};
syncBuiltinESMExports();

const { start } = GenerationScheduler.prototype;
GenerationScheduler.prototype.start = function (command) {
  start.call(this, command);
  if (!JSON.stringify(command.payload).includes('poison')) return;
  this.mark.answers();
  die('SIGSEGV');
};

await import('../../apps/worker/dist/trainer/main.js');
