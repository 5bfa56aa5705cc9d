#!/usr/bin/env node
// Training on quantized bases compared with the same run on a dense base: tokens per second and peak memory.
//   node test/bench/packed.mjs --side bf16=FOLDER --side nf4=FOLDER:nf4 --side q8_0=FILE.gguf:gguf_blocks
//                              --side less=FOLDER:nf4+recomputed
//                              [--method lora-all-linear|lora-qv] [--batch 8] [--length N] [--steps 12] [--rounds 3]
//                              [--threads 2] [--cpu]
//   node test/bench/packed.mjs --make FOLDER --tokenizer FOLDER
// A side is a base and its quantization; with +recomputed, its job uses gradient_checkpointing. Trains on the chats of
// chats.mjs in order or, with --length, on texts of N tokens. Sides alternate; prints the median of the rounds, and
// ratios to the first side. --cpu, for a busy machine: CPU time of one thread, without that of the warm-up. --make:
// writes a base with TinyLlama's shape (1.1 billion parameters), random weights and another base's tokenizer.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { mobyDick } from '../../examples/tiny-base/book.mjs';
import { chats } from './chats.mjs';
import { graftRate, median } from './graft-run.mjs';
import { KEPT, record } from './record.mjs';
import { makeBase } from './shapes.mjs';

const WARM_UP = 2;
const METHODS = {
  'lora-qv': { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: null },
  'lora-all-linear': { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
};

const { values: options } = parseArgs({
  options: {
    side: { type: 'string', multiple: true, default: [] },
    method: { type: 'string', default: 'lora-all-linear' },
    batch: { type: 'string', default: '8' },
    length: { type: 'string' },
    steps: { type: 'string', default: '12' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    cpu: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    make: { type: 'string' },
    tokenizer: { type: 'string' },
  },
});

function records(work) {
  const book = mobyDick(work);
  if (!options.length) return chats(book);
  // a word is about 1.4 tokens: more words than needed, which are truncated
  const [words, size] = [book.join(' ').split(/\s+/), Number(options.length)];
  return Array.from({ length: Math.floor(words.length / size) }, (_, i) => ({
    text: words.slice(i * size, (i + 1) * size).join(' '),
  }));
}

const sides = options.side.map((text) => {
  const [, name, path, quantization = null, recomputed] =
    /^([^=]+)=(.+?)(?::(\w+))?(\+recomputed)?$/.exec(text) ?? [];
  if (!name) throw new Error(`--side: expected NAME=PATH[:QUANTIZATION][+recomputed], got ${text}`);
  return { name, path: resolve(path), quantization, recomputed: recomputed !== undefined };
});

function measure({ path, quantization, recomputed }, data, work) {
  const job = {
    model: `dir:${path}`,
    training_file: data,
    seed: 0,
    peft: METHODS[options.method],
    hyperparameters: { batch_size: Number(options.batch), n_epochs: 1 },
    graft: {
      task: 'causal_lm',
      validation_split: null,
      learning_rate: 2e-4,
      lr_schedule: 'constant',
      max_seq_len: Number(options.length ?? 512),
      max_steps: Number(options.steps),
      shuffle: false,
      base_dtype: 'bf16',
      quantization,
      gradient_checkpointing: recomputed,
    },
  };
  const { threads, cpu } = options;
  const { overall, peak, losses } = graftRate(job, { work, threads, cpu, warmUp: WARM_UP });
  return { rate: overall, peak, loss: losses.at(-1) };
}

if (options.make) {
  makeBase(resolve(options.make), 'tinyllama-1.1b', resolve(options.tokenizer));
} else {
  if (sides.length === 0) throw new Error('--side NAME=PATH[:QUANTIZATION] is required');
  const work = mkdtempSync(join(tmpdir(), 'graft-packed-'));
  try {
    const data = join(work, 'records.jsonl');
    writeFileSync(
      data,
      records(work)
        .map((one) => `${JSON.stringify(one)}\n`)
        .join(''),
    );
    console.log(`load before: ${loadavg()[0].toFixed(2)}`);
    const found = new Map(sides.map(({ name }) => [name, []]));
    for (let round = 0; round < Number(options.rounds); round++)
      for (const side of round % 2 === 0 ? sides : [...sides].reverse())
        found.get(side.name).push(measure(side, data, work));
    const rate = (name) => median(found.get(name).map((one) => one.rate));
    const unit = options.cpu ? 'tokens/s of CPU time' : 'tokens/s';
    const rows = [];
    for (const [name, all] of found) {
      const peak = Math.max(...all.map((one) => one.peak));
      const ratio = (rate(name) / rate(sides[0].name)).toFixed(2);
      const loss = all[0].loss.toFixed(4);
      rows.push([name, Math.round(rate(name)), `${ratio} ×`, KEPT, peak]);
      console.log(
        `${name.padEnd(12)} ${rate(name).toFixed(0).padStart(6)} ${unit}, ${ratio} x, peak ${peak} GiB, loss ${loss}`,
      );
    }
    if (options.record) record('quantized', rows);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
