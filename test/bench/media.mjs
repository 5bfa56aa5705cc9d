#!/usr/bin/env node
// Training speed on images and audio compared with transformers + peft, both sides in one run:
//   node test/bench/media.mjs --task image_cls|speech_seq_2_seq [--base FOLDER] [--methods lora-qv,lora-all-linear]
//                             [--variants B0+tcmalloc,B2,B2+tcmalloc] [--steps 12] [--rounds 1] [--batch 8] [--threads 2] [--cpu]
// image_cls trains a ViT with ViT-S/16's shape at 224 pixels and random weights, unless --base names another model;
// speech_seq_2_seq trains --base, for example .cache/whisper-tiny.en (written by test/golden/whisper_tiny.py). Both
// sides use the same files, batches, initial adapter, optimizer and schedule; the losses of B2 (same dtype and order)
// must agree before any speed is printed. Neither time includes decoding, which both sides do before the first step;
// Graft's includes the processing in each step, such as the spectrogram. --cpu: CPU time, for a busy machine; for Graft
// it is the difference of two runs, one of which consists of the warm-up only. Use it with one thread: on shared cores,
// two threads of libgomp busy-wait for each other in Python, which Graft's threads do not.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { crc32, deflateSync } from 'node:zlib';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WARM_UP = 2;
const LABELS = ['a', 'b', 'c', 'd'];
const PEFT = {
  'lora-qv': { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['q_proj', 'v_proj'] },
  'lora-all-linear': { peft_type: 'LORA', r: 16, lora_alpha: 32, target_modules: 'all-linear' },
};
const TASKS = {
  image_cls: {
    record: (i) => ({ image: dataUrl('image/png', image(i)), label: LABELS[i % 4] }),
    options: { problem_type: 'single_label_classification', labels: LABELS },
    unit: 'images/s',
    // Largest relative difference of a step's loss from B2's; the loss of a new head changes fast and
    // amplifies rounding
    tolerance: 5e-2,
  },
  speech_seq_2_seq: {
    record: (i) => ({ audio: dataUrl('audio/wav', clip(i)), text: ` ${TEXTS[i % TEXTS.length]}` }),
    options: {},
    unit: 'sounds/s',
    tolerance: 2e-2,
  },
};
const TEXTS = [
  'Call me Ishmael.',
  'Some years ago, never mind how long precisely, I thought I would sail about a little.',
  'It is a way I have of driving off the spleen, and regulating the circulation.',
  'There is nothing surprising in this.',
];

const dataUrl = (type, bytes) => `data:${type};base64,${bytes.toString('base64')}`;

/** A PNG of 240 by 240 pixels with a wave pattern that depends on the index. */
function image(place) {
  const [side, channels] = [240, 3];
  const rows = Buffer.alloc(side * (1 + side * channels));
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < channels; c++) {
        const wave = Math.sin((x * (1 + (place % 7)) + y * (c + 1)) / 20 + place) * 90;
        rows[y * (1 + side * channels) + 1 + channels * x + c] =
          128 + wave + ((x * y + place) % 30);
      }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2], 8);
  const chunk = (type, data) => {
    const [body, around] = [Buffer.concat([Buffer.from(type), data]), Buffer.alloc(8)];
    around.writeUInt32BE(data.length, 0);
    around.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([around.subarray(0, 4), body, around.subarray(4)]);
  };
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Two to nine seconds of a voice-like tone as a 16-bit WAV at 16 kHz. */
function clip(place) {
  const rate = 16_000;
  const data = Buffer.alloc(2 * rate * (2 + (place % 8)));
  for (let i = 0; i < data.length / 2; i++) {
    const pitch = 110 + 30 * (place % 5) + 20 * Math.sin((6 * i) / rate);
    const voiced = [1, 2, 3, 5].reduce(
      (sum, n) => sum + Math.sin((2 * Math.PI * pitch * n * i) / rate) / n,
      0,
    );
    data.writeInt16LE(Math.round(6000 * voiced * Math.abs(Math.sin((9 * i) / rate))), 2 * i);
  }
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.set([1, 0, 1, 0], 20);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(2 * rate, 28);
  header.set([2, 0, 16, 0], 32);
  header.write('data', 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function python(args) {
  const out = execFileSync('python3', [join(ROOT, 'test/bench/hf_media.py'), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 26,
  });
  const lines = out.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line));
}

function theirs({ task, base, variants, steps, batch, threads, cpu }, method, work) {
  const data = ['--data', join(work, 'records.jsonl'), '--init', join(work, method)];
  const how = [
    '--variants',
    variants,
    '--steps',
    steps,
    '--batch',
    batch,
    '--threads',
    threads,
    ...(cpu ? ['--cpu'] : []),
  ];
  return python(['--task', task, '--base', base, '--method', method, ...data, ...how]);
}

/** Runs `graft run` for a number of steps; returns the steps and the CPU seconds of the process. */
function trained({ task, base, batch, threads }, steps, method, work) {
  const out = mkdtempSync(join(work, 'run-'));
  const job = {
    model: `dir:${base}`,
    training_file: join(work, 'records.jsonl'),
    seed: 0,
    peft: PEFT[method],
    hyperparameters: { batch_size: Number(batch), n_epochs: 1 },
    graft: {
      task,
      task_options: TASKS[task].options,
      learning_rate: 2e-4,
      lr_schedule: 'constant',
      weight_decay: 0.01,
      max_grad_norm: 1,
      max_steps: steps,
      shuffle: false,
      base_dtype: 'bf16',
      init_adapter: `dir:${join(work, method)}`,
    },
  };
  writeFileSync(join(out, 'job.json'), JSON.stringify(job));
  const run = [join(ROOT, 'apps/worker/bundle/run/main.js'), join(out, 'job.json'), '--out', out];
  const args = [
    '-c',
    'TIMEFORMAT="processor %U %S"; time "$@"',
    '--',
    process.execPath,
    ...run,
    '--threads',
    threads,
  ];
  const { status, stdout, stderr } = spawnSync('bash', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`graft run exited with ${status}:\n${stderr}`);
  const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const [, user, system] = /processor ([\d.]+) ([\d.]+)/.exec(stderr);
  const [, peak] = /peak memory ([\d.]+) GiB/.exec(stdout + stderr);
  return {
    steps: rows.filter((row) => row.loss !== undefined && row.seconds !== undefined),
    processor: Number(user) + Number(system),
    peak_rss_mb: Number(peak) * 1024,
  };
}

function ours(options, method, work) {
  const { steps, processor, peak_rss_mb } = trained(options, Number(options.steps), method, work);
  const measured = steps.slice(WARM_UP);
  const seconds = options.cpu
    ? processor - trained(options, WARM_UP, method, work).processor
    : measured.reduce((total, row) => total + row.seconds, 0);
  const media_per_second = (Number(options.batch) * measured.length) / seconds;
  return { variant: 'graft', media_per_second, peak_rss_mb, losses: steps.map(({ loss }) => loss) };
}

function gate(method, reference, graft, most) {
  const apart = graft.losses.map(
    (loss, i) => Math.abs(loss - reference.losses[i]) / reference.losses[i],
  );
  const worst = Math.max(...apart);
  if (!(worst <= most))
    throw new Error(
      `${method}: losses differ from B2's by up to ${worst.toExponential(2)}, so speeds are not compared`,
    );
  console.log(
    `${method}: losses agree with B2's to ${worst.toExponential(2)} over ${graft.losses.length} steps`,
  );
}

function report(method, rows, unit) {
  const of = (variant) => rows.filter((row) => row.variant === variant);
  const speed = (variant) => median(of(variant).map((row) => row.media_per_second));
  for (const variant of new Set(rows.map((row) => row.variant))) {
    const memory = Math.max(...of(variant).map((row) => row.peak_rss_mb));
    const ratio =
      variant === 'graft' ? '' : `  graft is ${(speed('graft') / speed(variant)).toFixed(2)} x`;
    console.log(
      `${method.padEnd(16)} ${variant.padEnd(12)} ${speed(variant).toFixed(2).padStart(7)} ${unit}  ${memory.toFixed(0).padStart(6)} MB${ratio}`,
    );
  }
}

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    task: { type: 'string', default: 'image_cls' },
    methods: { type: 'string', default: 'lora-qv,lora-all-linear' },
    variants: { type: 'string', default: 'B0+tcmalloc,B2,B2+tcmalloc' },
    steps: { type: 'string', default: '12' },
    rounds: { type: 'string', default: '1' },
    batch: { type: 'string', default: '8' },
    threads: { type: 'string', default: '2' },
    cpu: { type: 'boolean', default: false },
  },
});
const task = TASKS[options.task];
if (!task) throw new Error(`--task: expected one of ${Object.keys(TASKS)}, got ${options.task}`);
if (!options.base && options.task !== 'image_cls') throw new Error('--base FOLDER is required');
const work = mkdtempSync(join(tmpdir(), 'graft-bench-'));
try {
  if (!options.base) python(['--write-vit', join(work, 'vit')]);
  options.base = options.base ? resolve(options.base) : join(work, 'vit');
  const count = Number(options.steps) * Number(options.batch);
  const records = Array.from({ length: count }, (_, i) => `${JSON.stringify(task.record(i))}\n`);
  writeFileSync(join(work, 'records.jsonl'), records.join(''));
  console.log(`load before: ${loadavg()[0].toFixed(2)}${options.cpu ? '; CPU time' : ''}`);
  for (const method of options.methods.split(',')) {
    mkdirSync(join(work, method), { recursive: true });
    const init = ['--method', method, '--write-init', join(work, method)];
    python(['--task', options.task, '--base', options.base, ...init]);
    const rows = [];
    for (let round = 0; round < Number(options.rounds); round++) {
      const sides = [
        () => rows.push(ours(options, method, work)),
        () => rows.push(...theirs(options, method, work)),
      ];
      for (const side of round % 2 === 0 ? sides : sides.reverse()) side();
    }
    const of = (name) => rows.find(({ variant }) => variant === name);
    if (of('B2')) gate(method, of('B2'), of('graft'), task.tolerance);
    report(method, rows, task.unit);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
