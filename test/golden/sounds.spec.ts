// Models of sounds with the head of a run's own: logits, loss, gradients, merged weights, files and twenty steps of every
// golden case equal those of transformers and PEFT. Measured as golden.spec.ts does.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  backward,
  binaryCrossEntropyWithLogits,
  crossEntropy,
  mapSafetensors,
  noGrad,
  setThreads,
  tensor,
  tidy,
  to,
  type Tensor,
} from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  headOutputs,
  mergedWeights,
  readAdapter,
  writeAdapter,
  type Adapter,
  type HfConfig,
  type Model,
} from '@graft/peft-core';
import { footprintOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bases,
  casesOf,
  difference,
  floats,
  HERE,
  json,
  largest,
  ourName,
  values,
} from './golden-case.js';
import { configOf, optionsOf, start, type Config, type Options } from './heads.js';
import { readNamed } from './initial.js';
import { pixels, type Picture } from './pictures.js';
import { worst, type Trajectory } from './steps.js';

const RUN = 3;
/** By task: its records' file, what its models read, and PEFT's words for it. */
const TASKS = {
  audio_cls: {
    file: 'sounds.json',
    reads: 'audio',
    peft: { taskType: null, models: 'AudioClassification', pipeline: 'audio-classification' },
    refused: /expected a (sound|spectrogram) of .*, got 1 × 5 × 5/,
  },
} as const;
type TaskName = keyof typeof TASKS;
/** Largest difference over largest value; f32 is up to 4e-6 from double here (gradients). */
const F32 = 1e-4;
/** A gradient that is zero but for rounding (of key biases) is compared with the largest of its case. */
const SCALE_FLOOR = 1e-2;
/** Relative; see trajectory.spec.ts. */
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];
const HEAD = { kind: 'classification', outputs: 3 } as const;

const families = bases.flatMap((family) =>
  (Object.keys(TASKS) as TaskName[])
    .filter((task) => casesOf(family, task).length > 0)
    .map((task) => [family, task] as const),
);

function logits(model: Model, batch: readonly Picture[], training: boolean): Tensor {
  const sequences = batch.map((one) => ({
    feature: pixels(one),
    rows: model.inputRows(one.size),
  }));
  const ctx = { training, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  return to(headOutputs(model, [{ run: RUN, sequences }], ctx)[0]!, 'f32');
}

const logitsOf = (model: Model, batch: readonly Picture[]): Float32Array =>
  noGrad(() => tidy(() => floats(logits(model, batch, false))));

/** The mean over the pictures, with its gradients. */
function lossOf(model: Model, batch: readonly Picture[], { problem_type: problem }: Options) {
  return tidy(() => {
    const z = logits(model, batch, true);
    const n = batch.length;
    const wanted = batch.flatMap((one) => [one[problem as 'single_label_classification']].flat());
    const loss =
      problem === 'single_label_classification'
        ? crossEntropy(z, tensor(BigInt64Array.from(wanted, BigInt), [n]))
        : binaryCrossEntropyWithLogits(z, tensor(Float32Array.from(wanted), [n, HEAD.outputs]));
    backward([loss], [null]);
    return loss.item();
  });
}

const attach = (model: Model, peft: Config | null, seed = 0): Adapter =>
  attachMethod(model, peft, { run: RUN, seed, head: HEAD });

function gradientsOf(adapter: Adapter): Map<string, Float32Array> {
  return new Map(
    // what the loss does not see has none: a row that stands for what is hidden, where nothing is
    [...adapter.parameters].flatMap(([key, parameter]) => {
      const { grad } = parameter;
      if (!grad) return [];
      const found = floats(grad);
      parameter.zeroGrad();
      return [[key, found] as const];
    }),
  );
}

interface Facts {
  readonly bf16_against_f32?: Readonly<Record<'logits' | 'loss' | 'gradients', number>>;
}

function compare(
  model: Model,
  adapter: Adapter,
  batch: readonly Picture[],
  { golden, options }: { golden: ReadonlyMap<string, Float32Array>; options: Options },
  tolerance = { logits: F32, loss: F32, gradients: F32 },
): void {
  const theirs = golden.get('logits')!;
  const apart = difference(logitsOf(model, batch), theirs) / largest(theirs);
  expect(apart, 'logits').toBeLessThan(tolerance.logits);
  const [loss] = golden.get('loss')!;
  const ours = lossOf(model, batch, options);
  expect(Math.abs(ours - loss!) / loss!, 'loss').toBeLessThan(tolerance.loss);
  const gradients = new Map(
    [...golden]
      .filter(([key]) => key.startsWith('grad.'))
      .map(([key, value]) => [ourName(key.slice(5)), value]),
  );
  const found = gradientsOf(adapter);
  expect([...found.keys()].sort()).toEqual([...gradients.keys()].sort());
  const top = Math.max(...[...gradients.values()].map(largest));
  for (const [key, gradient] of gradients) {
    const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
    const far = difference(found.get(key)!, gradient) / scale;
    expect(far, key).toBeLessThan(tolerance.gradients);
  }
}

const listed = (value: unknown): unknown =>
  Array.isArray(value) ? [...new Set(value as unknown[])].sort() : value;

/** What is written is what PEFT wrote: same tensors with the same shapes, same config but for the order of lists. */
function compareFiles(
  adapter: Adapter,
  peft: Config,
  [family, task, name]: readonly [string, TaskName, string],
): void {
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const config = json<HfConfig>(family, 'base', 'config.json');
    const base = { config, tokenizerFiles: null as never };
    writeAdapter(dir, adapter, {
      base,
      baseName: '',
      peft,
      task: TASKS[task].peft,
      headConfig: {},
    });
    const [ours, theirs] = [dir, join(HERE, family, name)].map((folder) => {
      const file = mapSafetensors(join(folder, 'adapter_model.safetensors'));
      const found = new Map(
        [...file.tensors].map(([key, each]) => [key, { shape: each.shape, values: floats(each) }]),
      );
      file.close();
      return found;
    });
    const shapes = (file: typeof ours): unknown =>
      [...file!].map(([key, { shape }]) => [key, shape.join()]).sort();
    expect(shapes(ours)).toEqual(shapes(theirs));
    for (const [key, { values: value }] of ours!) {
      const golden = theirs!.get(key)!.values;
      expect(difference(value, golden), key).toBeLessThan(1e-6 * Math.max(1, largest(golden)));
    }
    const written = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8')) as Config;
    const [mine, golden] = [written, peft].map((c) =>
      Object.fromEntries(Object.entries(c).map(([k, v]) => [k, listed(v)])),
    );
    expect(mine).toEqual(golden);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

beforeAll(() => setThreads(1));

it('has goldens', () => expect(families.length).toBeGreaterThanOrEqual(3));

describe.each(families)('%s, %s', (family, task) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const open = (
    dtype: 'f32' | 'bf16',
    tensors: ReadonlyMap<string, unknown> = file.tensors,
  ): Model => buildModel(config, tensors as typeof file.tensors, { dtype, quantization: null });
  const batches = json<Picture[][]>(family, TASKS[task].file);
  const batch = batches[0]!;
  let model: Model;

  beforeAll(() => void (model = open('f32')));
  afterAll(() => {
    model.dispose();
    file.close();
  });

  const adapted = (on: Model, name: string, act: (adapter: Adapter) => void): void => {
    const adapter = attach(on, configOf(family, name));
    try {
      start(adapter, family, name);
      act(adapter);
    } finally {
      adapter.detach();
    }
    expect(on.modules.heads.size).toBe(0);
  };
  const cases = casesOf(family, task);

  it('reads what it should', () => {
    expect([model.inputKind, model.vocabSize]).toEqual([TASKS[task].reads, 0]);
    expect(() => model.inputRows([1, 5, 5])).toThrow(TASKS[task].refused);
  });

  it.each(cases)('%s', (name) => {
    const golden = values(join(family, name, 'golden.safetensors'));
    const peft = configOf(family, name);
    const options = optionsOf(family, name);
    adapted(model, name, (adapter) => {
      const trained = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      const footprint = footprintOf(peft, config, false, HEAD);
      expect(footprint.trainableParameters).toBe(trained);
      if (!peft) expect(footprint.totalParameters).toBe(trained);
      compare(model, adapter, batch, { golden, options });
      if (peft) compareFiles(adapter, peft, [family, task, name]);
      const merged = golden.get('merged_logits');
      if (!merged) return;
      const lazy = [...mergedWeights(model, adapter, peft!.peft_type)];
      const whole = new Map(lazy.map(([key, weight]) => [key, weight.make()]));
      const other = open('f32', whole);
      const bare = attach(other, null);
      bare.load(new Map([...bare.parameters].map(([key, own]) => [key, whole.get(key) ?? own])));
      expect(difference(logitsOf(other, batch), merged) / largest(merged)).toBeLessThan(F32);
      bare.detach();
      other.dispose();
    });
  });

  it.each(cases.filter((name) => configOf(family, name)))(
    "%s: PEFT's own file, loaded, gives its logits",
    (name) => {
      const stored = readAdapter(join(HERE, family, name));
      const adapter = attach(model, stored.peft as Config, 1);
      try {
        tidy(() => adapter.load(stored.tensors));
        const wanted = values(join(family, name, 'golden.safetensors')).get('logits')!;
        expect(difference(logitsOf(model, batch), wanted) / largest(wanted)).toBeLessThan(F32);
      } finally {
        adapter.detach();
        stored.dispose();
      }
    },
  );

  it.each(cases)('%s: each step', (name) => {
    const { settings, learning_rates: rates, ...golden } = json<Trajectory>(family, name, 'trajectory.json'); // prettier-ignore
    const options = optionsOf(family, name);
    adapted(model, name, (adapter) => {
      const optimizer = new AdamW(adapter.parameters, {
        weightDecay: settings.weight_decay,
        decays: () => true,
      });
      const [losses, norms]: [number[], number[]] = [[], []];
      for (let step = 0; step < settings.steps; step++) {
        losses.push(lossOf(model, batches[step % batches.length]!, options));
        norms.push(optimizer.clip(settings.max_grad_norm));
        optimizer.step(rates[step]!, () => tidy(() => adapter.afterStep?.(step + 1)));
      }
      optimizer.dispose();
      expect(worst(losses, golden.losses)).toBeLessThan(LOSS);
      expect(worst(norms, golden.grad_norms)).toBeLessThan(NORM);
      if (!configOf(family, name)) return;
      const { tensors, close } = readNamed(join(family, name, 'final.safetensors'));
      for (const [key, parameter] of adapter.parameters) {
        const theirs = floats(tensors.get(key)!);
        const scale = Math.max(largest(theirs), 1e-12);
        expect(difference(floats(parameter), theirs) / scale, key).toBeLessThan(FINAL);
      }
      close();
    });
  });

  const halves = cases.filter((name) => json<Facts>(family, name, 'golden.json').bf16_against_f32);
  it.each(halves)('%s in bf16', (name) => {
    const half = open('bf16');
    const expected = json<Required<Facts>>(family, name, 'golden.json').bf16_against_f32;
    const golden = values(join(family, name, 'golden-bf16.safetensors'));
    const tolerance = {
      logits: 2 * expected.logits,
      loss: Math.max(2 * expected.loss, 5e-3),
      gradients: 2 * expected.gradients,
    };
    adapted(half, name, (adapter) =>
      compare(half, adapter, batch, { golden, options: optionsOf(family, name) }, tolerance),
    );
    half.dispose();
  });
});
