#!/usr/bin/env node
// Eight jobs on one base in one process, compared with the same eight jobs one after another:
//   node test/bench/eight-jobs.mjs --base FOLDER [--shape qwen3-0.6b] [--threads 2] [--rounds 1] [--steps 4] [--batch 8] [--cpu]
// FOLDER: a Hugging Face folder. The jobs are LoRA on query and value, LoRA on all linears, prompt tuning and prefix
// tuning, each in two sizes, on the chats of chats.mjs in batches of --batch. One job of each pair is long, with
// --steps steps, the other is short, with a quarter of them. Each side is a process that has loaded the base and opens,
// trains and saves the jobs; the sides alternate. First the losses of every step are compared: they must be equal on
// both sides. Then it prints the makespan of all jobs together over the sum of the separate runs, the end time of each
// job, peak memory with the base, and the percentage of this machine's product speed (product-limit.mjs). --cpu, for a
// busy machine: CPU time of one thread instead of wall time.
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
/** Number of chats from chats.mjs. */
const RECORDS = 192;
/**
 * Losses must be bit-identical, because a micro-batch with many rows has a forward pass of its own (ADR
 * 0007).
 */
const LOSS_TOLERANCE = 0;

const lora = (r, targets = null) => ({ peft_type: 'LORA', r, target_modules: targets });
const virtual = (peft_type, count) => ({ peft_type, num_virtual_tokens: count });

/** Name, options, and whether the job is one of the short ones. */
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
if (!options.base) throw new Error('--base FOLDER is required');
if (Number(options.steps) < 4) throw new Error('--steps: expected an integer ≥ 4');
const batch = Number(options.batch);
const threads = options.cpu ? 1 : Number(options.threads);

const stepsOf = (isShort) => (isShort ? Math.floor(options.steps / 4) : Number(options.steps));

function now() {
  const { user, system } = process.cpuUsage();
  return options.cpu ? (user + system) / 1e6 : performance.now() / 1e3;
}

/**
 * The process of one side: the end time of each job, relative to the opening of the first, and its losses.
 */
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
  // the first use of the kernels is not measured
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
  if (status !== 0) throw new Error(`${name}: exited with ${status}:\n${stderr}`);
  return JSON.parse(stdout);
}

/** Lengths of the examples, to compute the work of the steps. */
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
    throw new Error(`losses of concurrent and separate runs differ by up to ${worst}`);
  console.log(
    `losses of ${differences.length} steps are bit-identical together and one after another`,
  );
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
    `makespan over the sum of the separate runs: ${(middle('together') / middle('alone')).toFixed(3)}`,
  );
  const ends = [...rounds[0].together.jobs].sort((a, b) => a.ended - b.ended);
  console.log(
    `ended after (s): ${ends.map(({ name, ended }) => `${name} ${ended.toFixed(1)}`).join(', ')}`,
  );
  const isShort = new Map(JOBS.map(([name, , short]) => [name, short]));
  const first = ends.slice(0, JOBS.length / 2).every(({ name }) => isShort.get(name));
  console.log(
    first ? 'the short jobs ended first' : 'NOT all short jobs ended before the long ones',
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

/** Work of all steps of all jobs. Batches are drawn at random, so the mean is used for each. */
function workOf(config, sequences) {
  return JOBS.reduce((sum, [, peft, isShort]) => {
    const step = meanStepWork(config, peft, sequences, batch) ?? NaN;
    return sum + step * stepsOf(isShort);
  }, 0);
}
