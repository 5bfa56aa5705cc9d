// Trains adapters and prints their cost and metrics. The request is JSON on stdin, with one base for all trials; each
// result is one line:
//   { base, dtype, trials: [{ task, options, peft, train, examples, steps, seconds, batch, learningRate, maxSeqLen, seed, measured, heldOut }] }
// A trial trains on the first `examples` records, for at most `steps` or `seconds`. `measured`: files by name, on which
// the run is evaluated after its last step; "base:NAME" evaluates the base alone. `heldOut`: a file on which the run
// itself is evaluated at its end, as required for images, which it reads through its own store.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spec } from '@graft/contracts';
import { noGrad, tidy } from '@graft/kernels';
import {
  BARE_BASE,
  loadBase,
  loadExamples,
  methodFor,
  microBatches,
  openRun,
  RunGroup,
  setThreads,
  takeTurn,
  taskFor,
} from '@graft/peft-core';

const ROWS = 2048;
const WARM_UP = 1;

const { base: folder, dtype, threads, trials } = JSON.parse(readFileSync(0, 'utf8'));
setThreads(threads);
const base = loadBase(folder, { dtype, quantization: null });
const work = mkdtempSync(join(tmpdir(), 'graft-claims-'));

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;

/** Returns the task's metrics on a file, for a run or for the base alone. */
function measure({ task: name, maxSeqLen }, options, run, file) {
  const task = taskFor(name);
  const load = { maxSeqLen, taskOptions: options };
  const examples = loadExamples(file, task, base.processor, load);
  const ctx = { training: false, runs: new Map() };
  let units = 0;
  const totals = {};
  for (const piece of microBatches(examples, ROWS)) {
    const share = { run, examples: piece.examples, options };
    const sums = noGrad(() => tidy(() => task.loss(base.model, [share], ctx, null))).get(run);
    if (!sums) continue;
    units += sums.units;
    for (const [key, value] of Object.entries(sums.totals)) totals[key] = (totals[key] ?? 0) + value; // prettier-ignore
  }
  return Object.fromEntries(task.metrics.map((each) => [each.name, each.of({ units, totals })]));
}

let id = 0;
function train(trial) {
  id += 1;
  const file = join(work, `train-${id}.jsonl`);
  const records = readFileSync(trial.train, 'utf8').trim().split('\n');
  writeFileSync(file, records.slice(0, trial.examples ?? records.length).join('\n'));
  const spec = Spec.parse({
    model: 'base',
    task: trial.task,
    task_options: taskFor(trial.task).options.parse(trial.options ?? {}),
    peft: trial.peft,
    seed: trial.seed ?? 1,
    batch_size: trial.batch ?? 8,
    n_epochs: 1,
    max_steps: trial.steps ?? 100_000,
    learning_rate: trial.learningRate ?? methodFor(trial.peft).defaultLearningRate,
    lr_schedule: trial.seconds ? 'constant' : 'linear',
    warmup_ratio: trial.seconds ? 0 : 0.05,
    weight_decay: 0.01,
    max_seq_len: trial.maxSeqLen,
    save_steps: 1_000_000,
    base_dtype: dtype,
  });
  spec.n_epochs = 10_000; // beyond the limit of a job, because the steps or seconds end it
  const run = openRun(base, spec, { id, baseId: 'base', trainFile: file, validFile: trial.heldOut ?? null, workDir: join(work, `${id}`) }); // prettier-ignore
  const group = new RunGroup(base.model);
  group.add(run);
  const found = { steps: 0, seconds: 0, tokens: 0, losses: [], measured: {}, bytes: null };
  const times = [];
  const last = () => {
    for (const [name, path] of Object.entries(trial.measured ?? {}))
      found.measured[name] = measure(trial, run.spec.task_options, name.startsWith('base:') ? BARE_BASE : id, path); // prettier-ignore
    found.trainable = run.trainableParameters;
  };
  while (group.size > 0)
    takeTurn(group, (_, fact) => {
      if (fact.type === 'failed') throw new Error(fact.message);
      if (fact.type === 'finished') found.bytes = fact.adapter.reduce((sum, { size }) => sum + size, 0); // prettier-ignore
      if (fact.type === 'evaluated') found.measured.heldOut = fact.metrics;
      if (fact.type !== 'step') return;
      found.steps += 1;
      found.seconds += fact.seconds;
      found.tokens += fact.tokens;
      found.losses.push(fact.metrics.loss);
      if (found.steps > WARM_UP) times.push(fact.seconds);
      const isOver = trial.seconds && found.seconds >= trial.seconds;
      if (isOver) run.stopping = 'cancel';
      if (isOver || run.done) last();
    });
  rmSync(join(work, `${id}`), { recursive: true, force: true });
  return {
    ...found,
    stepSeconds: median(times),
    stepTimes: times,
    parameters: base.model.parameterCount,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

try {
  for (const trial of trials) {
    let answer;
    try {
      answer = train(trial);
    } catch (error) {
      answer = { refused: error.message };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
} finally {
  base.dispose();
  rmSync(work, { recursive: true, force: true });
}
