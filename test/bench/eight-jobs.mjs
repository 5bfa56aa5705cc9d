#!/usr/bin/env node
// Eight jobs on one base in one process, beside the same eight one after the other:
//   node test/bench/eight-jobs.mjs --base FOLDER [--shape qwen3-0.6b] [--threads 2] [--rounds 1] [--steps 4] [--batch 8] [--cpu]
// FOLDER: a Hugging Face folder. LoRA on query and value, LoRA on all linears, prompt and prefix tuning, twice each and
// of two sizes, on the chats of chats.mjs in batches of --batch: one of each pair is long, of --steps steps, and one short, of
// a quarter of them. Each side is a process that holds the base already and opens, trains and saves its jobs; sides by
// turns. Losses of every step are compared first: together they must be those alone. Then the makespan of all together
// over the sum of them alone, when each ended, peak memory with the base, and the share of this machine's own speed in
// products (product-limit.mjs). --cpu, for a busy machine: seconds are those of one thread's processor time.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mobyDick } from '../../examples/tiny-base/book.mjs';
import { chats } from './chats.mjs';
import { median } from './graft-run.mjs';
import { meanStepWork, productSpeed } from './product-limit.mjs';
import { makeBase } from './shapes.mjs';

const CUT = 512;
/** Of chats.mjs. */
const RECORDS = 192;
/** A micro-batch of so many rows and more has a forward to itself (ADR 0007), so that its losses are the same bits. */
const LOSS_TOLERANCE = 0;

const lora = (r, targets = null) => ({ peft_type: 'LORA', r, target_modules: targets });
const virtual = (peft_type, count) => ({ peft_type, num_virtual_tokens: count });

/** Name, options, whether it is one of the short ones. */
const JOBS = [
  ['lora-qv r 8', lora(8), false],
  ['lora-qv r 32', lora(32), true],
  ['all linears r 16', lora(16, 'all-linear'), false],
  ['all linears r 4', lora(4, 'all-linear'), true],
  ['prompt 100', virtual('PROMPT_TUNING', 100), false],
  ['prompt 20', virtual('PROMPT_TUNING', 20), true],
  ['prefix 50', virtual('PREFIX_TUNING', 50), false],
  ['prefix 20', virtual('PREFIX_TUNING', 20), true],
];

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    shape: { type: 'string' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '1' },
    steps: { type: 'string', default: '4' },
    batch: { type: 'string', default: '8' },
    cpu: { type: 'boolean', default: false },
    side: { type: 'string' },
    work: { type: 'string' },
  },
});
if (!options.base) throw new Error('--base FOLDER is needed');
if (Number(options.steps) < 4) throw new Error('--steps: expected an integer ≥ 4');
const batch = Number(options.batch);
const threads = options.cpu ? 1 : Number(options.threads);

const stepsOf = (isShort) => (isShort ? Math.floor(options.steps / 4) : Number(options.steps));

function now() {
  const { user, system } = process.cpuUsage();
  return options.cpu ? (user + system) / 1e6 : performance.now() / 1e3;
}

/** One side's process: when each job ended, since the first was opened, and its losses. */
async function side(together) {
  const core = await import('@graft/peft-core');
  const { memory, setThreads } = await import('@graft/kernels');
  setThreads(threads);
  const base = core.loadBase(options.base, { dtype: 'bf16', quantization: null });
  const trainFile = join(options.work, 'records.jsonl');
  const folder = mkdtempSync(join(options.work, 'side-'));
  let opened = 0;
  const open = ([, peft, isShort]) => {
    const id = ++opened;
    const body = {
      model: 'base',
      training_file: trainFile,
      seed: id,
      peft,
      hyperparameters: { batch_size: batch, n_epochs: 1 },
      graft: {
        learning_rate: 1e-4,
        max_seq_len: CUT,
        max_steps: stepsOf(isShort),
        validation_split: null,
      },
    };
    const given = core.resolveSpec(body, { trainingRecords: RECORDS });
    const to = { id, baseId: 'base', trainFile, workDir: join(folder, String(id)) };
    return core.openRun(base, given, to);
  };
  const train = (jobs, began) => {
    const group = new core.RunGroup(base.model);
    const found = new Map(jobs.map((job) => [open(job), { name: job[0], losses: [], seen: 0 }]));
    for (const run of found.keys()) group.add(run);
    while (group.size > 0)
      core.takeTurn(group, (run, fact) => {
        const mine = found.get(run);
        if (fact.type === 'failed') throw new Error(`${mine.name}: ${fact.message}`);
        if (fact.type === 'step') mine.losses.push(fact.metrics.loss);
        if (fact.type === 'finished') mine.ended = now() - began;
      });
    return [...found.values()];
  };
  // the first use of the kernels is nobody's
  train([['warm', lora(8), true]], now());
  const began = now();
  const jobs = together ? train(JOBS, began) : JOBS.flatMap((job) => train([job], began));
  const seconds = now() - began;
  base.dispose();
  return { seconds, peak: memory().peakRssBytes / 1e9, jobs };
}

function ask(name) {
  const args = [fileURLToPath(import.meta.url), '--side', name, '--work', options.work];
  const more = ['base', 'threads', 'steps', 'batch'].flatMap((key) => [`--${key}`, options[key]]);
  const given = [...args, ...more, ...(options.cpu ? ['--cpu'] : [])];
  const { status, stdout, stderr } = spawnSync(process.execPath, given, {
    encoding: 'utf8',
    env: { OMP_WAIT_POLICY: 'passive', ...process.env },
  });
  if (status !== 0) throw new Error(`${name}: ended with ${status}:\n${stderr}`);
  return JSON.parse(stdout);
}

/** Lengths of the examples, for what the work of their steps is. */
async function writeData(work) {
  const { Processor, taskFor, Tokenizer } = await import('@graft/peft-core');
  const records = chats(mobyDick(work));
  writeFileSync(
    join(work, 'records.jsonl'),
    records.map((one) => `${JSON.stringify(one)}\n`).join(''),
  );
  const [processor, task] = [
    new Processor({ tokenizer: Tokenizer.load(options.base) }),
    taskFor('causal_lm'),
  ];
  const prepared = records.map((record) => task.prepare(record, processor, {}));
  return task
    .encode(prepared, processor, { maxSeqLen: CUT })
    .map(({ example, supervised }) => ({ length: example.tokenCount, supervised }));
}

function sameLosses(together, alone) {
  const differences = together.jobs.flatMap(({ losses }, i) =>
    losses.map((loss, step) => Math.abs(loss - alone.jobs[i].losses[step])),
  );
  const worst = Math.max(...differences);
  if (!(worst <= LOSS_TOLERANCE))
    throw new Error(`losses together differ from alone by up to ${worst}`);
  console.log(`losses of ${differences.length} steps are the same bits together and alone`);
}

function report(rounds, work, speed) {
  const unit = options.cpu ? 's of processor time' : 's';
  const middle = (name) => median(rounds.map((round) => round[name].seconds));
  const peak = (name) => Math.max(...rounds.map((round) => round[name].peak)).toFixed(2);
  for (const name of ['together', 'alone']) {
    const share = ((100 * work) / 1e9 / middle(name) / speed).toFixed(0);
    console.log(
      `${name.padEnd(9)} ${middle(name).toFixed(1)} ${unit}, peak ${peak(name)} GB, ${share} % of products`,
    );
  }
  console.log(
    `makespan over the sum of them alone: ${(middle('together') / middle('alone')).toFixed(3)}`,
  );
  const ends = [...rounds[0].together.jobs].sort((a, b) => a.ended - b.ended);
  console.log(
    `ended after: ${ends.map(({ name, ended }) => `${name} ${ended.toFixed(1)}`).join(', ')}`,
  );
  const isShort = new Map(JOBS.map(([name, , short]) => [name, short]));
  const first = ends.slice(0, JOBS.length / 2).every(({ name }) => isShort.get(name));
  console.log(
    first ? 'the short ones ended first' : 'NOT all short ones ended before the long ones',
  );
}

if (options.side) {
  console.log(JSON.stringify(await side(options.side === 'together')));
} else {
  const work = mkdtempSync(join(tmpdir(), 'graft-eight-'));
  try {
    options.base = resolve(options.base);
    options.work = work;
    if (options.shape) {
      makeBase(join(work, 'base'), options.shape, options.base);
      options.base = join(work, 'base');
    }
    const sequences = await writeData(work);
    const config = JSON.parse(readFileSync(join(options.base, 'config.json'), 'utf8'));
    console.log(`load before: ${loadavg()[0].toFixed(2)}`);
    const speed = productSpeed(config, { threads, cpu: options.cpu });
    const rounds = Array.from({ length: Number(options.rounds) }, (_, i) => {
      const [first, second] = i % 2 === 0 ? ['together', 'alone'] : ['alone', 'together'];
      return Object.fromEntries([
        [first, ask(first)],
        [second, ask(second)],
      ]);
    });
    sameLosses(rounds[0].together, rounds[0].alone);
    report(rounds, workOf(config, sequences), speed);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Of all steps of all jobs: batches are drawn, so that each is as the mean of them. */
function workOf(config, sequences) {
  return JOBS.reduce((sum, [, peft, isShort]) => {
    const step = meanStepWork(config, peft, sequences, batch) ?? NaN;
    return sum + step * stepsOf(isShort);
  }, 0);
}
