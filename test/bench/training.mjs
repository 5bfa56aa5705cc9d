#!/usr/bin/env node
// Training speed beside transformers + peft, both sides in one run:
//   node test/bench/training.mjs --base FOLDER [--methods lora-qv,lora-all-linear,prompt] [--variants B2,B3+tcmalloc]
//                                [--steps 24] [--rounds 2] [--task causal_lm|dpo|seq_2_seq_lm|seq_cls] [--long 8000]
// FOLDER: a Hugging Face folder (SmolLM2-135M-Instruct in bf16 for the figures of docs/results.md, all-MiniLM-L6-v2 for
// seq_cls). --long: texts of so many tokens, one a batch, in place of the chats. For seq_2_seq_lm a T5 of t5-small's shape with random weights and FOLDER's tokenizer takes its place.
// The same token ids, batches of 8 (of 32 for seq_cls, whose texts are the chats' questions), initial adapter, optimiser and schedule on both sides; the losses of B2 (same
// dtype, same order) must agree before any speed is printed. Of each side and variant, after two steps of warm-up: all
// real tokens over all their time, which is what a user waits for and what the ratio compares, and the median step,
// which flatters batches sorted by length. --steps 24 is the whole set once.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mobyDick } from '../../examples/tiny-base/book.mjs';
import { chats } from './chats.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WARM_UP = 2;
/** Largest relative difference of a step's loss from B2's, bf16 (reference protocol: 2e-2). */
const LOSS_TOLERANCE = 2e-2;
const PEFT = {
  // PEFT's own choice: query and value
  'lora-qv': { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: null },
  'lora-all-linear': { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
  prompt: { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 200 },
};

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const only = (labels) => labels.findIndex((label) => label >= 0) + 1;

const LABELS = ['a', 'b', 'c', 'd'];

/** By task: records of the chats, and the token ids of an example as the baseline reads them. */
const TASKS = {
  causal_lm: {
    records: (all) => all,
    // Hugging Face's labels stand at their own token; Graft's are the target of the row before.
    line: ({ tokens, labels, first }) => ({
      tokens: [...tokens],
      labels: [first, ...labels.slice(0, tokens.length - 1)],
    }),
    options: {},
  },
  // the answer is preferred to that of the next chat
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
    // what is rounded to bf16 is summed over an answer, and the loss is of the difference of four such sums
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
  // what the labels are does not change how fast they are learnt
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
    // a new head's loss moves fast, and with it what rounding makes of it
    tolerance: 5e-2,
  },
};

const batchOf = ({ task, long }) => (long ? 1 : (TASKS[task].batch ?? 8));

const cutOf = ({ long }) => Number(long ?? 512);

/** Stretches of the book that are cut at `tokens`; a word of it is 1.4 of them, and longer words more. */
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
  const learnt = encoded.reduce((n, { supervised }) => n + supervised, 0);
  const total = lengths.reduce((a, b) => a + b, 0);
  console.log(
    `${records.length} examples of ${Math.min(...lengths)} to ${Math.max(...lengths)} tokens, median ${median(lengths)}, ${((100 * learnt) / total).toFixed(0)} % supervised`,
  );
}

function python(args) {
  const out = execFileSync('python3', [join(ROOT, 'test/bench/hf_baseline.py'), ...args], {
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

function theirs(options, method, work) {
  return python([
    '--base',
    options.base,
    '--data',
    join(work, 'sequences.jsonl'),
    '--method',
    method,
    ...taskFlags(options),
    '--variants',
    options.variants,
    '--steps',
    options.steps,
    '--batch',
    String(batchOf(options)),
    '--init',
    join(work, method),
  ]);
}

function ours(options, method, work) {
  const out = mkdtempSync(join(work, 'run-'));
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
    },
  };
  writeFileSync(join(out, 'job.json'), JSON.stringify(job));
  const args = [
    join(ROOT, 'apps/worker/dist/run/main.js'),
    join(out, 'job.json'),
    '--out',
    out,
    '--threads',
    '2',
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`graft run ended with ${status}:\n${stderr}`);
  const steps = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((row) => row.loss !== undefined && row.seconds !== undefined);
  const [, peak] = /peak memory ([\d.]+) GiB/.exec(stdout + stderr);
  const measured = steps.slice(WARM_UP);
  const sum = (field) => measured.reduce((total, row) => total + row[field], 0);
  return {
    variant: 'graft',
    real_tokens_per_second: median(measured.map((row) => row.tokens / row.seconds)),
    overall_tokens_per_second: sum('tokens') / sum('seconds'),
    peak_rss_mb: Number(peak) * 1024,
    losses: steps.map((row) => row.loss),
  };
}

function gate(method, reference, graft, most = LOSS_TOLERANCE) {
  const worst = Math.max(
    ...graft.losses.map((loss, i) => Math.abs(loss - reference.losses[i]) / reference.losses[i]),
  );
  if (!(worst <= most))
    throw new Error(
      `${method}: losses differ from B2's by up to ${worst.toExponential(2)}; no speed without equality`,
    );
  console.log(
    `${method}: losses agree with B2's to ${worst.toExponential(2)} over ${graft.losses.length} steps`,
  );
}

function report(method, rows) {
  const by = Map.groupBy
    ? Map.groupBy(rows, (row) => row.variant)
    : rows.reduce((m, r) => m.set(r.variant, [...(m.get(r.variant) ?? []), r]), new Map());
  const middle = (variant, field) => median(by.get(variant).map((row) => row[field]));
  const overall = (variant) => middle(variant, 'overall_tokens_per_second');
  for (const [variant, runs] of by) {
    const memory = Math.max(...runs.map((row) => row.peak_rss_mb));
    const ratio =
      variant === 'graft' ? '' : `  graft is ${(overall('graft') / overall(variant)).toFixed(2)} x`;
    const median = middle(variant, 'real_tokens_per_second').toFixed(0);
    console.log(
      `${method.padEnd(16)} ${variant.padEnd(12)} ${overall(variant).toFixed(0).padStart(5)} tokens/s (median step ${median.padStart(5)})  ${memory.toFixed(0).padStart(6)} MB${ratio}`,
    );
  }
}

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    task: { type: 'string', default: 'causal_lm' },
    methods: { type: 'string', default: 'lora-qv,lora-all-linear,prompt' },
    variants: { type: 'string', default: 'B0,B2,B3+tcmalloc' },
    steps: { type: 'string', default: '24' },
    rounds: { type: 'string', default: '1' },
    long: { type: 'string' },
  },
});
if (!options.base) throw new Error('--base FOLDER is needed');
if (options.long && options.task !== 'causal_lm') throw new Error('--long is of causal_lm');
options.base = resolve(options.base);
const work = mkdtempSync(join(tmpdir(), 'graft-bench-'));
try {
  if (options.task === 'seq_2_seq_lm') {
    python(['--base', options.base, '--write-t5', join(work, 't5')]);
    options.base = join(work, 't5');
  }
  await writeData(options, work);
  console.log(`load before: ${loadavg()[0].toFixed(2)}`);
  for (const method of options.methods.split(',')) {
    mkdirSync(join(work, method), { recursive: true });
    const init = ['--method', method, ...taskFlags(options), '--write-init', join(work, method)];
    python(['--base', options.base, ...init]);
    const rows = [];
    for (let round = 0; round < Number(options.rounds); round++) {
      const sides = [
        () => rows.push(ours(options, method, work)),
        () => rows.push(...theirs(options, method, work)),
      ];
      for (const side of round % 2 === 0 ? sides : sides.reverse()) side();
    }
    const reference = rows.find((row) => row.variant === 'B2');
    if (reference)
      gate(
        method,
        reference,
        rows.find((row) => row.variant === 'graft'),
        TASKS[options.task].tolerance,
      );
    report(method, rows);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
