#!/usr/bin/env node
// Training on packed bases beside the same run on a dense one: tokens a second, and the process's peak memory.
//   node test/bench/packed.mjs --side bf16=FOLDER --side nf4=FOLDER:nf4 --side q8_0=FILE.gguf:gguf_blocks
//                              [--method lora-all-linear|lora-qv] [--batch 8] [--length N] [--steps 12] [--rounds 3]
//                              [--threads 2] [--cpu]
//   node test/bench/packed.mjs --make FOLDER --tokenizer FOLDER
// A side is a base and how it is held. The chats of chats.mjs in order, or with --length texts of so many tokens; sides
// by turns, the median of the rounds, ratios to the first side. --cpu, for a busy machine: processor time of one thread,
// that of a run less that of its first step. --make: a base of TinyLlama's shape (1.1 billion numbers) with random
// weights and the tokenizer of another.
import { spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync } from 'node:fs';
import { readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mobyDick } from '../../examples/tiny-base/book.mjs';
import { chats } from './chats.mjs';

const MAIN = fileURLToPath(new URL('../../apps/worker/dist/run/main.js', import.meta.url));
const WARM_UP = 2;
const METHODS = {
  'lora-qv': { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: null },
  'lora-all-linear': { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
};

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

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
    make: { type: 'string' },
    tokenizer: { type: 'string' },
  },
});

const SHAPE = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: 22,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 64,
  hidden_act: 'silu',
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
};

function makeBase(folder, tokenizer) {
  mkdirSync(folder, { recursive: true });
  const names = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'];
  for (const name of names.filter((one) => existsSync(join(tokenizer, one))))
    copyFileSync(join(tokenizer, name), join(folder, name));
  const like = JSON.parse(readFileSync(join(tokenizer, 'config.json'), 'utf8'));
  const { vocab_size, bos_token_id, eos_token_id } = like;
  const config = { ...SHAPE, vocab_size, bos_token_id, eos_token_id };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const [d, f, kv] = [2048, 5632, 256];
  const ofLayer = {
    'self_attn.q_proj': [d, d],
    'self_attn.k_proj': [kv, d],
    'self_attn.v_proj': [kv, d],
    'self_attn.o_proj': [d, d],
    'mlp.gate_proj': [f, d],
    'mlp.up_proj': [f, d],
    'mlp.down_proj': [d, f],
    input_layernorm: [d],
    post_attention_layernorm: [d],
  };
  const all = Array.from({ length: SHAPE.num_hidden_layers }, (_, i) =>
    Object.entries(ofLayer).map(([name, shape]) => [`model.layers.${i}.${name}.weight`, shape]),
  ).flat();
  all.unshift(['model.embed_tokens.weight', [vocab_size, d]], ['model.norm.weight', [d]]);
  let at = 0;
  const header = all.map(([name, shape]) => {
    const begin = at;
    at += 2 * shape.reduce((product, n) => product * n, 1);
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, at] }];
  });
  const text = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(file, Buffer.concat([length, text]));
  // a sum of twelve uniform numbers is nearly normal; the same million in every matrix
  const normal = () =>
    0.02 * (Array.from({ length: 12 }, Math.random).reduce((sum, x) => sum + x, 0) - 6);
  const floats = new Uint32Array(Float32Array.from({ length: 1 << 20 }, normal).buffer);
  const weights = Buffer.from(Uint16Array.from(floats, (bits) => bits >>> 16).buffer);
  const ones = Buffer.from(new Uint16Array(d).fill(0x3f80).buffer);
  for (const [, { shape, data_offsets: place }] of header) {
    const source = shape.length === 1 ? ones : weights;
    for (let left = place[1] - place[0]; left > 0; left -= source.length)
      writeSync(file, source, 0, Math.min(left, source.length));
  }
  closeSync(file);
}

function records(work) {
  const book = mobyDick(work);
  if (!options.length) return chats(book);
  // a word is 1.4 tokens: more words than are needed, which are cut
  const [words, size] = [book.join(' ').split(/\s+/), Number(options.length)];
  return Array.from({ length: Math.floor(words.length / size) }, (_, i) => ({
    text: words.slice(i * size, (i + 1) * size).join(' '),
  }));
}

const sides = options.side.map((text) => {
  const [, name, path, quantization = null] = /^([^=]+)=(.+?)(?::(\w+))?$/.exec(text) ?? [];
  if (!name) throw new Error(`--side NAME=PATH[:QUANTIZATION], got ${text}`);
  return { name, path: resolve(path), quantization };
});

/** Runs the command; its processor time in seconds comes last on stderr. */
function timed(args) {
  const script = 'TIMEFORMAT="%U %S"; time "$@"';
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...args], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`graft run ended with ${status}:\n${stderr}`);
  const [user, system] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
  return { said: stdout + stderr, seconds: user + system };
}

function run({ path, quantization }, data, work, steps) {
  const out = mkdtempSync(join(work, 'run-'));
  const job = {
    model: `dir:${path}`,
    training_file: data,
    seed: 0,
    peft: METHODS[options.method],
    hyperparameters: { batch_size: Number(options.batch), n_epochs: 1 },
    graft: {
      task: 'causal_lm',
      learning_rate: 2e-4,
      lr_schedule: 'constant',
      max_seq_len: Number(options.length ?? 512),
      max_steps: steps,
      shuffle: false,
      base_dtype: 'bf16',
      quantization,
    },
  };
  const file = join(out, 'job.json');
  writeFileSync(file, JSON.stringify(job));
  const threads = options.cpu ? '1' : options.threads;
  const { said, seconds } = timed([
    process.execPath,
    MAIN,
    file,
    '--out',
    out,
    '--threads',
    threads,
  ]);
  const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter((row) => row.loss !== undefined && row.seconds !== undefined);
  return { rows, seconds, peak: Number(/peak memory ([\d.]+) GiB/.exec(said)?.[1]) };
}

const sum = (rows, field) => rows.reduce((total, row) => total + row[field], 0);

function measure(side, data, work) {
  const steps = Number(options.steps);
  const whole = run(side, data, work, steps);
  const { peak, rows } = whole;
  const loss = rows.at(-1).loss;
  if (!options.cpu) {
    const measured = rows.slice(WARM_UP);
    return { rate: sum(measured, 'tokens') / sum(measured, 'seconds'), peak, loss };
  }
  const first = run(side, data, work, 1);
  const tokens = sum(rows, 'tokens') - sum(first.rows, 'tokens');
  return { rate: tokens / (whole.seconds - first.seconds), peak, loss };
}

if (options.make) {
  makeBase(resolve(options.make), resolve(options.tokenizer));
} else {
  if (sides.length === 0) throw new Error('--side NAME=PATH[:QUANTIZATION] is needed');
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
    const unit = options.cpu ? 'tokens a second of processor time' : 'tokens/s';
    for (const [name, all] of found) {
      const peak = Math.max(...all.map((one) => one.peak));
      const ratio = (rate(name) / rate(sides[0].name)).toFixed(2);
      const loss = all[0].loss.toFixed(4);
      console.log(
        `${name.padEnd(12)} ${rate(name).toFixed(0).padStart(6)} ${unit}, ${ratio} x, peak ${peak} GiB, loss ${loss}`,
      );
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
