#!/usr/bin/env node
// Every PEFT method compared with peft itself, for the same work in one run:
//   node test/bench/methods.mjs --base FOLDER [--methods LORA,MISS,IA3] [--layers 6] [--steps 6] [--rounds 1] [--cpu] [--record]
// FOLDER: a LLaMA in bf16 safetensors (SmolLM2-135M-Instruct for the figures of docs/results.md), of which only the
// first layers are used, because the cost of a method is per layer. Both sides alternate for each method, with the same
// initial adapter (peft's), chats, batches of 8 of similar length (so that peft's batches have little padding), bf16
// base, f32 adapters and optimizer. The Python process uses tcmalloc. The losses of all steps must agree before a speed
// is printed. The speed is a step's tokens over its time; on both sides the best step of all rounds after a warm-up,
// which is least disturbed by other work. --cpu: one thread on each side and CPU time, for a busy machine. The exit
// code is 1 if a method is slower than in peft, or MiSS or IA3 slower than LoRA.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Spec } from '@graft/contracts';
import {
  loadBase,
  methods,
  openRun,
  RunGroup,
  setThreads,
  takeTurn,
  taskFor,
} from '@graft/peft-core';
import { mobyDick } from '../../examples/tiny-base/book.mjs';
import { chats } from './chats.mjs';
import { METHODS, peftOf, WITH_MORE } from './peft-configs.mjs';
import { record } from './record.mjs';

const SCRIPT = fileURLToPath(new URL('hf_methods.py', import.meta.url));
const BATCH = 8;
const QV = ['q_proj', 'v_proj'];
/** Largest relative difference of a step's loss, for bf16 and f32. */
const TOLERANCE = { bf16: 2e-2, f32: 1e-3 };

/**
 * Methods with random numbers in each step, or with more trained parameters than their files store: losses
 * are not compared.
 */
const RANDOM = ['PVERA', 'P_TUNING', 'POLY'];
/** Methods that target other modules than linears, or have targets of their own. */
const OWN_TARGETS = ['IA3', 'PROMPT_TUNING', 'P_TUNING', 'PREFIX_TUNING', 'CARTRIDGE', 'BEFT', 'LN_TUNING', 'TRAINABLE_TOKENS', 'CPT', 'MULTITASK_PROMPT_TUNING', 'ADAPTION_PROMPT', 'SHADOW', 'XLORA']; // prettier-ignore
/** These methods must be at least as fast as LoRA on the same linears. */
const LEAN = { MISS: 'LORA', IA3: 'LORA', 'MISS all-linear': 'LORA all-linear' };

/**
 * Number of tasks for methods whose records have a task; the sequences of a batch cycle through them
 * (test/golden/measure.py).
 */
const TASKS = 3;
const ALL = { ...METHODS, ...WITH_MORE };

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    methods: { type: 'string', default: Object.keys(ALL).join(',') },
    layers: { type: 'string', default: '6' },
    steps: { type: 'string', default: '6' },
    rounds: { type: 'string', default: '1' },
    cpu: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    threads: { type: 'string', default: String(Math.min(2, availableParallelism())) },
  },
});
if (!options.base) throw new Error('--base FOLDER is required');
const steps = Number(options.steps);
if (options.cpu) options.threads = '1';
const now = () => {
  if (!options.cpu) return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const names = options.methods.split(',');
const unknown = names.filter((name) => !(name in ALL));
if (unknown.length > 0)
  throw new Error(`unknown methods ${unknown}; there are ${Object.keys(ALL)}`);

const work = mkdtempSync(join(tmpdir(), 'graft-bench-'));

/**
 * The adapter for peft: query and value projections where the method has no default of its own, and adapters
 * by their folders.
 */
const adapterOptions = (name) => {
  const peft = peftOf(name);
  if (!peft || OWN_TARGETS.includes(peft.peft_type)) return withFolders(peft);
  return { target_modules: QV, ...peft };
};
const withFolders = (peft) =>
  peft?.adapters
    ? { ...peft, adapters: Object.fromEntries(Object.entries(peft.adapters).map(([i, one]) => [i, join(work, one)])) } // prettier-ignore
    : peft;
const dtypeOf = (name) => (ALL[name] ? 'bf16' : 'f32');

const folder = join(work, 'base');
execFileSync('python3', [SCRIPT, '--shorten', resolve(options.base), folder, options.layers]);
setThreads(Number(options.threads));
const bases = new Map();
const baseOf = (dtype) => {
  if (!bases.has(dtype)) bases.set(dtype, loadBase(folder, { dtype, quantization: null }));
  return bases.get(dtype);
};

/** Batches of chats of similar length, taken evenly from the whole set. */
function writeData() {
  const { processor } = baseOf('bf16');
  const causalLm = taskFor('causal_lm');
  const records = chats(mobyDick(work));
  const prepared = records.map((record) => causalLm.prepare(record, processor, {}));
  const encoded = causalLm.encode(prepared, processor, { maxSeqLen: 512 });
  const order = records.map((_, i) => i);
  order.sort((a, b) => encoded[a].example.tokenCount - encoded[b].example.tokenCount);
  const count = Math.floor(order.length / BATCH);
  const batches = Array.from({ length: steps }, (_, step) => Math.floor(((step + 0.5) * count) / steps)); // prettier-ignore
  const rows = batches.flatMap((batch) => order.slice(batch * BATCH, (batch + 1) * BATCH));
  const lines = (all) => all.map((one) => `${JSON.stringify(one)}\n`).join('');
  const ofTasks = rows.map((row, i) => ({ ...records[row], task_ids: (i % BATCH) % TASKS }));
  writeFileSync(join(work, 'records.jsonl'), lines(ofTasks));
  const sequences = rows.map((row) => {
    const { tokens, labels, first } = encoded[row].example;
    return { tokens: [...tokens], labels: [first, ...labels.slice(0, tokens.length - 1)] };
  });
  writeFileSync(join(work, 'sequences.jsonl'), lines(sequences));
}

/** The Python process, which answers each request line with one line. */
function theirs() {
  const args = [
    SCRIPT,
    '--serve',
    folder,
    join(work, 'sequences.jsonl'),
    options.threads,
    options.cpu ? 'cpu' : 'wall',
  ];
  const python = spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
  return {
    async ask(request) {
      python.stdin.write(`${JSON.stringify(request)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('the Python process has exited');
      return JSON.parse(value);
    },
    end: () => python.stdin.end(),
  };
}

let id = 0;
function ours(name, init) {
  id += 1;
  const dtype = dtypeOf(name);
  const base = baseOf(dtype);
  const adapterDirs = Object.values(adapterOptions(name)?.adapters ?? {});
  const configIn = (dir) => JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'));
  const spec = Spec.parse({
    model: 'base',
    task: 'causal_lm',
    peft: adapterOptions(name),
    adapters: adapterDirs.map(configIn),
    seed: id,
    batch_size: BATCH,
    n_epochs: 1,
    max_steps: steps,
    learning_rate: 2e-4,
    lr_schedule: 'constant',
    warmup_ratio: 0,
    weight_decay: 0.01,
    max_seq_len: 512,
    shuffle: false,
    base_dtype: dtype,
  });
  const run = openRun(base, spec, {
    id,
    baseId: 'base',
    trainFile: join(work, 'records.jsonl'),
    initAdapterDir: name === 'P_TUNING' ? null : init,
    adapterDirs,
    workDir: join(work, `run-${id}`),
  });
  const group = new RunGroup(base.model);
  group.add(run);
  const found = { losses: [], seconds: [], tokens: [], trainable: run.trainableParameters };
  let began = now();
  while (group.size > 0)
    takeTurn(group, (_, fact) => {
      if (fact.type === 'failed') throw new Error(fact.message ?? JSON.stringify(fact));
      if (fact.type !== 'step') return;
      found.losses.push(fact.metrics.loss);
      found.tokens.push(fact.tokens);
      found.seconds.push(now() - began);
      began = now();
    });
  rmSync(join(work, `run-${id}`), { recursive: true, force: true });
  return found;
}

/** Seconds of all steps except the first, each the best of the rounds. */
const best = (rounds) => {
  let sum = 0;
  for (let step = 1; step < steps; step++) sum += Math.min(...rounds.map(({ seconds }) => seconds[step])); // prettier-ignore
  return sum;
};

function compare(name, mine, other) {
  const tokens = mine[0].tokens.slice(1).reduce((a, b) => a + b, 0);
  const worst = Math.max(...mine[0].losses.map((loss, i) => Math.abs(loss / other[0].losses[i] - 1))); // prettier-ignore
  // peft also trains AdaLoRA's ranknum, a number per linear that it divides by
  if (mine[0].trainable !== other[0].trainable && name !== 'ADALORA')
    throw new Error(`${name}: ${mine[0].trainable} trainable parameters, ${other[0].trainable} in peft`); // prettier-ignore
  const isGated = !RANDOM.includes(name);
  if (isGated && !(worst <= TOLERANCE[dtypeOf(name)]))
    throw new Error(`${name}: losses differ by up to ${worst.toExponential(1)}, so speeds are not compared`); // prettier-ignore
  return {
    ours: tokens / best(mine),
    theirs: tokens / best(other),
    worst: isGated ? worst.toExponential(1) : 'random',
  };
}

const rows = new Map();
const wrong = [];
try {
  writeData();
  const python = theirs();
  console.log(`load before: ${loadavg()[0].toFixed(2)}; tokens/s, largest difference of a loss`);
  for (const name of names) {
    const init = ALL[name] ? join(work, `init-${name.replaceAll(/\W/g, '-')}`) : null;
    if (init) mkdirSync(init);
    const [mine, other] = [[], []];
    try {
      const request = { peft: adapterOptions(name), steps, dtype: dtypeOf(name), init };
      const started = await python.ask({ ...request, write: true });
      if (started.error) throw new Error(`peft: ${started.error}`);
      for (let round = 0; round < Number(options.rounds); round++) {
        const sides = [
          async () => mine.push(ours(name, init)),
          async () => other.push(await python.ask({ ...request, write: false })),
        ];
        for (const side of round % 2 === 0 ? sides : sides.reverse()) await side();
      }
      const row = compare(name, mine, other);
      rows.set(name, row);
      console.log(
        `${name.padEnd(16)} graft ${row.ours.toFixed(0).padStart(5)}  peft ${row.theirs.toFixed(0).padStart(5)}  ${(row.ours / row.theirs).toFixed(2).padStart(5)} x  ${row.worst}`,
      );
    } catch (error) {
      wrong.push(name);
      console.log(`${name.padEnd(16)} ${error.message}`);
    }
  }
  python.end();
} finally {
  for (const base of bases.values()) base.dispose();
  rmSync(work, { recursive: true, force: true });
}
const slower = [...rows].filter(([, row]) => row.ours < row.theirs).map(([name]) => name);
const heavier = Object.entries(LEAN)
  .filter(([name, of]) => rows.get(name)?.ours < rows.get(of)?.ours)
  .map(
    ([name, of]) => `${name} (${(rows.get(name).ours / rows.get(of).ours).toFixed(2)} of ${of})`,
  );
if (options.record)
  record(
    'methods',
    [...rows].map(([name, row]) => [
      name,
      Math.round(row.ours),
      Math.round(row.theirs),
      `${(row.ours / row.theirs).toFixed(2)} ×`,
    ]),
  );
console.log(`slower than peft: ${slower.join(', ') || 'none'}`);
console.log(`slower than LoRA: ${heavier.join(', ') || 'none'}`);
const known = new Set(Object.keys(ALL).map((name) => peftOf(name)?.peft_type ?? name));
const others = methods.map(({ name }) => name).filter((name) => !known.has(name));
console.log(`without an entry in peft-configs.mjs: ${others.join(', ') || 'none'}`);
console.log(`not compared: ${wrong.join(', ') || 'none'}`);
process.exitCode = slower.length + heavier.length + wrong.length > 0 ? 1 : 0;
