// Real DINOv2 ViT-S/14 (test/golden/dinov2_small.py) on photographs, at its own size and a larger one, and
// twenty training steps of an adapter, compared with transformers and PEFT.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setThreads, tidy } from '@graft/kernels';
import {
  AdamW,
  answersTo,
  attachMethod,
  headOf,
  loadBase,
  readAdapter,
  taskFor,
  type Base,
} from '@graft/peft-core';
import { afterAll, expect, it } from 'vitest';
import { difference, largest } from '../golden/golden-case.js';
import { logitsOf, type LabelledExample } from '../golden/heads.js';
import { RUN, worst } from '../golden/steps.js';
import { dataUrl } from '../tiny-images.js';

const ROOT = join(import.meta.dirname, '../..');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
const FOLDER = join(ROOT, '.cache/dinov2-small');
const isThere = existsSync(join(VENV, 'pins.sha256')) && existsSync(join(FOLDER, 'model.safetensors')); // prettier-ignore
if (!isThere)
  console.warn(
    `skipped: real DINOv2, because ${FOLDER} or ${VENV} is missing (python3 test/golden/dinov2_small.py makes both)`,
  );

const [STEPS, RATE] = [20, 2e-4];
/** Tolerance of a difference between unit vectors; measured 3e-7. */
const VECTORS = 1e-5;
/** Relative tolerances; measured 3e-6 and 9e-7. */
const [LOSS, LOGITS] = [1e-4, 1e-4];

const dir = mkdtempSync(join(tmpdir(), 'graft-parity-dinov2-'));
afterAll(() => rmSync(dir, { recursive: true }));

interface Theirs {
  readonly vectors: readonly Readonly<Record<'cls' | 'mean', readonly number[][]>>[];
  readonly losses: readonly number[];
  readonly logits: readonly number[][];
}

it.skipIf(!isThere)(
  'has the vectors of transformers and the training steps of PEFT',
  () => {
    setThreads(2);
    const bases = [FOLDER, largerFolder()];
    const photographs = ['china.jpg', 'flower.jpg'].map((name) => join(photographsIn(VENV), name));
    const [crops, adapter] = [join(dir, 'crops'), join(dir, 'adapter')];
    mkdirSync(crops);
    const theirs = python({ bases, photographs, crops, adapter, steps: STEPS, rate: RATE });

    for (const [i, folder] of bases.entries()) {
      const base = loadBase(folder, { dtype: 'f32', quantization: null });
      expect(base.processor.image.rows).toBe([257, 1370][i]);
      for (const mode of ['cls', 'mean'] as const) {
        const ours = vectors(base, photographs, mode);
        const expected = theirs.vectors[i]![mode].flat();
        expect(difference(ours, Float32Array.from(expected)), `${mode} of ${i}`).toBeLessThan(
          VECTORS,
        );
      }
      if (i === 0) learn(base, { crops, adapter }, theirs);
      base.dispose();
    }
  },
  600_000,
);

function vectors(base: Base, paths: readonly string[], pooling_mode: string): Float32Array {
  const infer = taskFor('image_feature_extraction').infer!;
  const options = taskFor('image_feature_extraction').options.parse({ pooling_mode });
  const records = paths.map((path) => infer.record(dataUrl(readFileSync(path), 'image/jpeg')));
  const how = { maxSeqLen: 8192, vocabSize: 0, taskOptions: options };
  const examples = infer.encode(records, base.processor, how).map(({ example }) => example);
  return Float32Array.from(
    answersTo(infer, base.model, [{ run: -1, examples, options }]).flat() as number[],
  );
}

function learn(base: Base, from: { crops: string; adapter: string }, theirs: Theirs): void {
  const task = taskFor('image_cls');
  const options = task.options.parse({
    problem_type: 'single_label_classification',
    labels: ['china', 'flower'],
  }) as Record<string, unknown>;
  const records = readdirSync(from.crops).map((name) => ({
    image: dataUrl(readFileSync(join(from.crops, name))),
    label: Number(/-(\d)/.exec(name)?.[1]),
  }));
  const prepared = records.map((record) => task.prepare(record, base.processor, options));
  const examples = task
    .encode(prepared, base.processor, { maxSeqLen: 8192, store: null })
    .map(({ example }) => example);
  const stored = readAdapter(from.adapter, base.model.config);
  const head = headOf({ task: 'image_cls', task_options: options });
  const adapter = attachMethod(base.model, stored.peft, { run: RUN, seed: 0, head });
  tidy(() => adapter.load(stored.tensors));
  stored.dispose();
  const optimizer = new AdamW(adapter.parameters, { weightDecay: 0, decays: () => true });
  const losses = Array.from({ length: STEPS }, (_, step) => {
    const some = examples.slice(4 * (step % 2), 4 * (step % 2) + 4);
    const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step }]]) };
    const shares = [{ run: RUN, examples: some, options }];
    const sums = tidy(() => task.loss(base.model, shares, ctx, new Map([[RUN, 1 / 4]]))).get(RUN)!;
    optimizer.clip(1);
    optimizer.step(RATE);
    return sums.totals['loss']! / sums.units;
  });
  optimizer.dispose();
  expect(worst(losses, theirs.losses)).toBeLessThan(LOSS);
  expect(theirs.losses.at(-1)).toBeLessThan(0.8 * theirs.losses[0]!);
  const logits = logitsOf(base.model, RUN, readable(examples));
  const expected = Float32Array.from(theirs.logits.flat());
  expect(difference(logits, expected) / largest(expected)).toBeLessThan(LOGITS);
  adapter.detach();
}

/** Passes the argument that `values` of an image requires. */
const readable = (examples: readonly unknown[]): LabelledExample[] =>
  (examples as (LabelledExample & { stored: { values(of: null): unknown } })[]).map((one) => ({
    ...one,
    stored: { values: () => one.stored.values(null) },
  }));

/** Returns a folder with the same weights, at the image size of its position embeddings. */
function largerFolder(): string {
  const folder = mkdtempSync(join(dir, 'larger-'));
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(FOLDER, name), join(folder, name));
  const name = 'preprocessor_config.json';
  const preprocessor = JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as object;
  const size = { size: { shortest_edge: 560 }, crop_size: { height: 518, width: 518 } };
  writeFileSync(join(folder, name), JSON.stringify({ ...preprocessor, ...size }));
  return folder;
}

/** Returns the folder of two photographs in scikit-learn. */
function photographsIn(venv: string): string {
  const [python = ''] = readdirSync(join(venv, 'lib')).filter((name) => name.startsWith('python'));
  return join(venv, 'lib', python, 'site-packages/sklearn/datasets/images');
}

function python(asked: object): Theirs {
  const done = spawnSync(join(VENV, 'bin/python'), [join(ROOT, 'test/parity/dinov2_steps.py')], {
    input: JSON.stringify(asked),
    env: {
      ...process.env,
      HF_HUB_OFFLINE: '1',
      PYTHONDONTWRITEBYTECODE: '1',
      TRANSFORMERS_VERBOSITY: 'error',
    },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (done.status !== 0) throw new Error(done.stderr);
  return JSON.parse(done.stdout) as Theirs;
}
