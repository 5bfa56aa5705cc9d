#!/usr/bin/env node
// Training speed compared with transformers + peft, both sides in one run:
//   node test/bench/training.mjs --base FOLDER [--methods lora-qv,lora-all-linear,prompt,prefix] [--variants B3+tcmalloc]
//                                [--steps 24] [--rounds 2] [--task causal_lm|dpo|seq_2_seq_lm|seq_cls] [--long 8000]
//                                [--shape qwen3-0.6b] [--batch 4] [--gate 4] [--cpu]
//                                [--recompute] [--record NAME]
// FOLDER: a Hugging Face folder (SmolLM2-135M-Instruct in bf16 for the figures of docs/results.md, all-MiniLM-L6-v2 for
// seq_cls). --shape: replaces it by a base of that shape with random weights and FOLDER's tokenizer (shapes.mjs);
// seq_2_seq_lm always uses a T5 with t5-small's shape. --long: texts of this number of tokens, one per batch, instead
// of the chats. --recompute: measures our side also with gradient_checkpointing, as in B5. --record: writes the
// comparison with the fastest other side as row NAME of docs/results/training.json; with one method only.
// Variants: those of hf_baseline.py, and mlx (mlx_baseline.py, LoRA only).
// Both sides use the same token ids, batches of 8 (of 32 for seq_cls, whose texts are the chats' questions) or --batch,
// initial adapter, optimizer and schedule. The losses of B2 (same dtype, same order) must agree before any speed is
// printed: for all steps if B2 is among the variants, with or without tcmalloc, otherwise for --gate steps; and mlx's
// losses with those of B3 if both run. For each side and variant, after two warm-up steps, it prints all real tokens
// over all their time, which users wait for and which the ratio compares, and the median step, which is misleadingly
// fast for batches sorted by length. --steps 24 is one pass over the data. --cpu, for a busy machine: CPU time of one
// thread. The last column is the rate as a percentage of the limit by this machine's matrix products
// (product-limit.mjs, in the same run); work that is done once for several sequences counts for each, so it may exceed
// 100 %.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mobyDick } from '../../examples/tiny-base/book.mjs';
import { chats } from './chats.mjs';
import { graftRate, median } from './graft-run.mjs';
import { meanStepWork, productSpeed } from './product-limit.mjs';
import { KEPT, record } from './record.mjs';
import { makeBase } from './shapes.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WARM_UP = 2;
const THREADS = 2;
/** Largest relative difference of a step's loss from B2's for bf16 (reference protocol: 2e-2). */
const LOSS_TOLERANCE = 2e-2;
const PEFT = {
  // PEFT's default targets: query and value
  'lora-qv': { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: null },
  'lora-all-linear': { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
  prompt: { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 200 },
  prefix: { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 20 },
};

const only = (labels) => labels.findIndex((label) => label >= 0) + 1;

const LABELS = ['a', 'b', 'c', 'd'];

/** Records from the chats for each task, and the token ids of an example in the format of the baseline. */
const TASKS = {
  causal_lm: {
    records: (all) => all,
    // Hugging Face's labels are at their own token; Graft's are at the row before.
    line: ({ tokens, labels, first }) => ({
      tokens: [...tokens],
      labels: [first, ...labels.slice(0, tokens.length - 1)],
    }),
    options: {},
  },
  // the chosen answer is the chat's, the rejected one that of the next chat
  dpo: {
    records: (all) =>
      all.map(({ messages }, i) => ({
        input: { messages: messages.slice(0, -1) },
        preferred_output: messages.slice(-1),
        non_preferred_output: all[(i + 1) % all.length].messages.slice(-1),
      })),
    line: ({ chosen, rejected }) => {
      const at = only(chosen.labels);
      return {
        prompt: [...chosen.tokens.slice(0, at)],
        chosen: [...chosen.tokens.slice(at)],
        rejected: [...rejected.tokens.slice(at)],
      };
    },
    options: { beta: 0.1, label_smoothing: 0 },
    // log-probabilities rounded to bf16 are summed over an answer, and the loss uses the difference of four
    // such sums
    tolerance: 1e-1,
  },
  seq_2_seq_lm: {
    records: (all) =>
      all.map(({ messages }) => ({
        prompt: messages
          .slice(0, -1)
          .map(({ content }) => content)
          .join('\n'),
        completion: messages.at(-1).content,
      })),
    line: ({ source, target }) => ({ source: [...source], target: [...target] }),
    options: {},
  },
  // the labels do not affect the speed
  seq_cls: {
    records: (all) =>
      all.flatMap(({ messages }) =>
        messages.map(({ content }) => ({ text: content, label: LABELS[content.length % 4] })),
      ),
    line: ({ tokens, types, target }) => ({
      tokens: [...tokens],
      types: types ? [...types] : [...tokens].map(() => 0),
      label: target[0],
    }),
    options: { problem_type: 'single_label_classification', labels: LABELS },
    batch: 32,
    // the loss of a new head changes fast and amplifies rounding
    tolerance: 5e-2,
  },
};

const batchOf = ({ task, long, batch }) => Number(batch ?? (long ? 1 : (TASKS[task].batch ?? 8)));

const cutOf = ({ long }) => Number(long ?? 512);

/** Passages of the book, truncated at `tokens`; a word is about 1.4 tokens, and longer words are more. */
function texts(chapters, tokens) {
  const words = chapters.join(' ').split(/\s+/);
  const count = Math.floor(words.length / tokens);
  return Array.from({ length: count }, (_, i) => ({
    text: words.slice(i * tokens, (i + 1) * tokens).join(' '),
  }));
}

async function writeData({ base, task, long }, work) {
  const { Processor, taskFor, Tokenizer } = await import('@graft/peft-core');
  const { records: recordsOf, line, options: taskOptions } = TASKS[task];
  const processor = new Processor({ tokenizer: Tokenizer.load(base) });
  const book = mobyDick(work);
  const records = long ? texts(book, cutOf({ long })) : recordsOf(chats(book));
  const prepared = records.map((record) => taskFor(task).prepare(record, processor, taskOptions));
  const encoded = taskFor(task).encode(prepared, processor, { maxSeqLen: cutOf({ long }) });
  const lines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  writeFileSync(join(work, 'records.jsonl'), lines(records));
  writeFileSync(join(work, 'sequences.jsonl'), lines(encoded.map(({ example }) => line(example))));
  const lengths = encoded.map(({ example }) => example.tokenCount);
  const supervisedTokens = encoded.reduce((n, { supervised }) => n + supervised, 0);
  const total = lengths.reduce((a, b) => a + b, 0);
  console.log(
    `${records.length} examples of ${Math.min(...lengths)} to ${Math.max(...lengths)} tokens, median ${median(lengths)}, ${((100 * supervisedTokens) / total).toFixed(0)} % supervised`,
  );
  return encoded.map(({ example, supervised }) => ({ length: example.tokenCount, supervised }));
}

function python(script, args) {
  const out = execFileSync('python3', [join(ROOT, 'test/bench', script), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 26,
  });
  return out
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

const taskFlags = ({ task }) => ['--task', task, '--options', JSON.stringify(TASKS[task].options)];

/** The other side's runs, one result per variant. */
function theirs(options, method, work, variants, steps = options.steps) {
  const given = (script, more) =>
    python(script, [
      '--base',
      options.base,
      '--data',
      join(work, 'sequences.jsonl'),
      '--method',
      method,
      '--steps',
      String(steps),
      '--batch',
      String(batchOf(options)),
      '--init',
      join(work, method),
      '--threads',
      String(options.cpu ? 1 : THREADS),
      ...(options.cpu ? ['--cpu'] : []),
      ...more,
    ]);
  const hf = variants.filter((variant) => variant !== 'mlx');
  return [
    ...(hf.length > 0
      ? given('hf_baseline.py', ['--variants', hf.join(','), ...taskFlags(options)])
      : []),
    ...(variants.includes('mlx') ? given('mlx_baseline.py', []) : []),
  ].filter(({ skipped }) => !skipped);
}

function ours(options, method, work, recomputed = false) {
  const job = {
    model: `dir:${options.base}`,
    training_file: join(work, 'records.jsonl'),
    seed: 0,
    peft: PEFT[method],
    hyperparameters: { batch_size: batchOf(options), n_epochs: 1 },
    graft: {
      task: options.task,
      task_options: TASKS[options.task].options,
      learning_rate: 2e-4,
      lr_schedule: 'constant',
      weight_decay: 0.01,
      max_grad_norm: 1,
      max_seq_len: cutOf(options),
      max_steps: Number(options.steps),
      shuffle: false,
      base_dtype: 'bf16',
      init_adapter: `dir:${join(work, method)}`,
      gradient_checkpointing: recomputed,
    },
  };
  const { cpu } = options;
  const found = graftRate(job, { work, threads: THREADS, cpu, warmUp: WARM_UP });
  return {
    variant: recomputed ? 'graft+recomputed' : 'graft',
    real_tokens_per_second: found.middle,
    overall_tokens_per_second: found.overall,
    peak_rss_mb: found.peak * 1024,
    losses: found.losses,
  };
}

/** @throws if the losses of both sides differ by more than `most` in a step that both have */
function gate(method, [reference, one], most = LOSS_TOLERANCE) {
  const steps = Math.min(reference.losses.length, one.losses.length);
  const worst = Math.max(
    ...reference.losses
      .slice(0, steps)
      .map((loss, i) => Math.abs(one.losses[i] - loss) / Math.abs(loss)),
  );
  const who = `${method}: losses of ${one.variant}`;
  if (!(worst <= most))
    throw new Error(
      `${who} differ from ${reference.variant}'s by up to ${worst.toExponential(2)}, so speeds are not compared`,
    );
  console.log(
    `${who} agree with ${reference.variant}'s to ${worst.toExponential(2)}, ${steps} steps`,
  );
}

/** @param share fraction of this machine's product speed at a rate in tokens/s; null if the work is not known */
function report(method, rows, share, unit) {
  const by = new Map();
  for (const row of rows) by.set(row.variant, [...(by.get(row.variant) ?? []), row]);
  const middle = (variant, field) => median(by.get(variant).map((row) => row[field]));
  const overall = (variant) => middle(variant, 'overall_tokens_per_second');
  for (const [variant, runs] of by) {
    const memory = Math.max(...runs.map((row) => row.peak_rss_mb));
    const ratio = variant.startsWith('graft')
      ? ''
      : `  graft is ${(overall('graft') / overall(variant)).toFixed(2)} x`;
    const step = middle(variant, 'real_tokens_per_second');
    const typical = step === undefined ? '' : ` (median step ${step.toFixed(0).padStart(5)})`;
    const part = share ? `  ${(100 * share(overall(variant))).toFixed(0)} % of products` : '';
    console.log(
      `${method.padEnd(16)} ${variant.padEnd(16)} ${overall(variant).toFixed(0).padStart(5)} ${unit}${typical}  ${memory.toFixed(0).padStart(6)} MB${part}${ratio}`,
    );
  }
  if (!options.record) return;
  const others = [...by.keys()].filter((variant) => !variant.startsWith('graft'));
  const best = others.sort((a, b) => overall(b) - overall(a))[0];
  const memory = (variant) =>
    `${(Math.max(...by.get(variant).map((row) => row.peak_rss_mb)) / 1024).toFixed(2)} GiB`;
  const part = (variant) => (100 * share(overall(variant))).toFixed(0);
  record('training', [
    [
      options.cpu ? `${options.record} (CPU time)` : options.record,
      Math.round(overall('graft')),
      Math.round(overall(best)),
      `${(overall('graft') / overall(best)).toFixed(2)} ×`,
      KEPT,
      memory('graft'),
      memory(best),
      share ? `${part('graft')} and ${part(best)} %` : '',
    ],
  ]);
}

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    task: { type: 'string', default: 'causal_lm' },
    methods: { type: 'string', default: 'lora-qv,lora-all-linear,prompt' },
    variants: { type: 'string', default: 'B3+tcmalloc' },
    steps: { type: 'string', default: '24' },
    rounds: { type: 'string', default: '1' },
    long: { type: 'string' },
    shape: { type: 'string' },
    batch: { type: 'string' },
    gate: { type: 'string', default: '4' },
    cpu: { type: 'boolean', default: false },
    recompute: { type: 'boolean', default: false },
    record: { type: 'string' },
  },
});
if (!options.base) throw new Error('--base FOLDER is required');
if (options.record && options.methods.includes(','))
  throw new Error('--record NAME records one row: pass one method with --methods');
if (options.long && options.task !== 'causal_lm')
  throw new Error('--long is only supported with --task causal_lm');
options.base = resolve(options.base);
const work = mkdtempSync(join(tmpdir(), 'graft-bench-'));

/** Compares both sides with one method: runs them alternately, compares losses, then prints speeds. */
function compare(method, sequences) {
  mkdirSync(join(work, method), { recursive: true });
  const init = ['--method', method, ...taskFlags(options), '--write-init', join(work, method)];
  python('hf_baseline.py', ['--base', options.base, ...init]);
  const variants = options.variants.split(',');
  const { tolerance } = TASKS[options.task];
  const config = JSON.parse(readFileSync(join(options.base, 'config.json'), 'utf8'));
  const flops = options.task === 'causal_lm' ? perToken(config, method, sequences) : null;
  const speeds = flops === null ? [] : [productSpeed(config, { threads: THREADS, ...options })];
  const rows = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    const sides = [
      () => rows.push(ours(options, method, work)),
      () => options.recompute && rows.push(ours(options, method, work, true)),
      () => rows.push(...theirs(options, method, work, variants)),
    ];
    for (const side of round % 2 === 0 ? sides : sides.reverse()) side();
  }
  const named = (variant) => rows.find((row) => row.variant === variant);
  // losses need no warm-up, but a run must have more steps than the warm-up
  const steps = Math.max(WARM_UP + 1, Number(options.gate));
  const inOrder = rows.find(({ variant }) => variant.startsWith('B2'));
  const reference = inOrder ?? theirs(options, method, work, ['B2'], steps)[0];
  gate(method, [reference, named('graft')], tolerance);
  if (options.recompute) gate(method, [reference, named('graft+recomputed')], tolerance);
  const sorted = rows.find(({ variant }) => variant.startsWith('B3'));
  if (sorted && named('mlx')) gate(method, [sorted, named('mlx')], tolerance);
  const unit = options.cpu ? 'tokens/s of CPU time' : 'tokens/s';
  if (flops === null) return report(method, rows, null, unit);
  speeds.push(productSpeed(config, { threads: THREADS, ...options }));
  const speed = Math.max(...speeds);
  console.log(
    `${method}: ${(flops / 1e6).toFixed(0)} MFLOP a token, products at ${speed.toFixed(0)} GF/s: ${((speed * 1e9) / flops).toFixed(0)} ${unit} at most`,
  );
  report(method, rows, (rate) => (rate * flops) / 1e9 / speed, unit);
}

/** Operations per token; null if they cannot be computed. */
function perToken(config, method, sequences) {
  const size = batchOf(options);
  const work = meanStepWork(config, PEFT[method], sequences, size);
  const tokens = sequences.reduce((sum, { length }) => sum + length, 0);
  return work && work / (tokens / Math.ceil(sequences.length / size));
}

try {
  if (options.task === 'seq_2_seq_lm') {
    python('hf_baseline.py', ['--base', options.base, '--write-t5', join(work, 't5')]);
    options.base = join(work, 't5');
  } else if (options.shape) {
    makeBase(join(work, options.shape), options.shape, options.base);
    options.base = join(work, options.shape);
  }
  const sequences = await writeData(options, work);
  console.log(`load before: ${loadavg()[0].toFixed(2)}`);
  for (const method of options.methods.split(',')) compare(method, sequences);
} finally {
  rmSync(work, { recursive: true, force: true });
}
