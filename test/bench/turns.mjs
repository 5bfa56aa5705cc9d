#!/usr/bin/env node
// The delay of a short job that shares a process with a job of long examples, as a ratio to the same job alone.
//   node test/bench/turns.mjs --base FOLDER [--steps 8] [--long-tokens 2048] [--threads 1]
// FOLDER: a Hugging Face folder (SmolLM2-135M-Instruct for the figures of docs/log.md). The short job has batches of
// one example of 40 characters. The long job runs alone for three turns before the short one joins. Both ratios use the
// short job's time from joining to its last step: with turns limited by time, and with turns of a whole step each, as
// in earlier versions.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadBase, openRun, resolveSpec, RunGroup, setThreads, takeTurn } from '@graft/peft-core';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    steps: { type: 'string', default: '8' },
    'long-tokens': { type: 'string', default: '2048' },
    threads: { type: 'string', default: '1' },
  },
});
if (!values.base) throw new Error('--base FOLDER is required');
setThreads(Number(values.threads));
const steps = Number(values.steps);
const dir = mkdtempSync(join(tmpdir(), 'graft-turns-'));
const words = (count, n) => Array.from({ length: count }, (_, i) => ['ship', 'sea', 'whale', 'sail'][(i * 7 + n) % 4]); // prettier-ignore
const file = (name, count, length) => {
  const lines = Array.from({ length: count }, (_, n) => JSON.stringify({ text: words(length, n).join(' ') })); // prettier-ignore
  writeFileSync(join(dir, name), `${lines.join('\n')}\n`);
  return join(dir, name);
};
const short = file('short.jsonl', steps, 10);
const long = file('long.jsonl', 64, Number(values['long-tokens']));
const base = loadBase(values.base, { dtype: 'bf16', quantization: null });

let id = 0;
function open(trainFile, batch, max) {
  id += 1;
  const body = {
    model: 'base',
    training_file: trainFile,
    seed: id,
    peft: { peft_type: 'LORA', r: 8 },
    hyperparameters: { batch_size: batch, n_epochs: 1 },
    graft: { learning_rate: 1e-4, validation_split: null, ...(max && { max_steps: max }) },
  };
  const spec = resolveSpec(body, { trainingRecords: max ? steps : 64 });
  return openRun(base, spec, { id, baseId: 'base', trainFile, workDir: join(dir, `work-${id}`) });
}

const now = () => performance.now() / 1000;
const ignore = () => undefined;

function alone() {
  const group = new RunGroup(base.model);
  group.add(open(short, 1, steps));
  const began = now();
  while (group.size > 0) takeTurn(group, ignore);
  return now() - began;
}

function withLongJob() {
  const group = new RunGroup(base.model);
  const longRun = open(long, 8, null);
  group.add(longRun);
  for (let turn = 0; turn < 3; turn++) takeTurn(group, ignore);
  const run = open(short, 1, steps);
  group.add(run);
  const began = now();
  while (group.runs.includes(run)) takeTurn(group, ignore);
  const seconds = now() - began;
  group.remove(longRun);
  return seconds;
}

/** A whole step of one job, then a whole step of the other. */
function byStep() {
  const groups = [new RunGroup(base.model), new RunGroup(base.model)];
  const [longRun, run] = [open(long, 8, null), open(short, 1, steps)];
  groups[0].add(longRun);
  groups[1].add(run);
  const began = now();
  while (groups[1].size > 0)
    for (const [i, one] of [longRun, run].entries()) {
      const { step } = one;
      while (groups[i].size > 0 && one.step === step) takeTurn(groups[i], ignore);
    }
  const seconds = now() - began;
  groups[0].remove(longRun);
  return seconds;
}

alone(); // warm-up
const reference = alone();
const ratio = (seconds) =>
  `${seconds.toFixed(2)} s, ${(seconds / reference).toFixed(1)} times as long`;
console.log(`short job of ${steps} steps alone: ${reference.toFixed(2)} s`);
console.log(`with a long job, turns limited by time: ${ratio(withLongJob())}`);
console.log(`with a long job, turns of a step: ${ratio(byStep())}`);
base.dispose();
rmSync(dir, { recursive: true, force: true });
