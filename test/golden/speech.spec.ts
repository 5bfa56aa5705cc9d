// Models of sounds that write text: hidden states of both stacks, logits, loss, gradients, merged weights, files and twenty
// steps of every golden case equal those of transformers and PEFT. Measured as golden.spec.ts does.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { crossEntropy, mapSafetensors, setThreads, tensor, tidy, to } from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  readAdapter,
  runRows,
  taskFor,
  writeAdapter,
  type Adapter,
  type Example,
  type HfConfig,
  type Model,
  type PackedRows,
  type Sequence,
  type Task,
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
import { begin, readNamed } from './initial.js';
import { pixels, type Picture } from './pictures.js';
import { worst, type Trajectory } from './steps.js';

const TASK = 'speech_seq_2_seq';
const task = taskFor(TASK) as Task<Example, unknown, object>;
const RUN = 3;
/** Largest difference over largest value; f32 is up to 3e-6 from double here (gradients). */
const F32 = 1e-4;
/** A gradient that is zero but for rounding has no scale of its own: it is compared with the case's largest. */
const SCALE_FLOOR = 1e-3;
/** Relative; see trajectory.spec.ts. */
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];

type Config = { readonly peft_type: string; readonly [field: string]: unknown };
type Spoken = Pick<Picture, 'picture' | 'size'> & { readonly target: readonly number[] };
type Tolerance = Readonly<Record<'hidden' | 'logits' | 'loss' | 'gradients', number>>;

const families = bases.filter((family) => casesOf(family, TASK).length > 0);
const configOf = (family: string, name: string): Config | null =>
  name.endsWith('-full') || name.endsWith('-none')
    ? null
    : json<Config>(family, name, 'adapter_config.json');

const attach = (model: Model, peft: Config | null, seed = 0): Adapter =>
  attachMethod(model, peft, { run: RUN, seed });

function rowsOf(lengths: readonly number[], inputs: PackedRows['inputs']): PackedRows {
  let start = 0;
  const sequences = lengths.map((length): Sequence => {
    start += length;
    return { run: RUN, start: start - length, length };
  });
  const places = lengths.flatMap((length) => Array.from({ length }, (_, i) => i));
  return { inputs, positions: Int32Array.from(places), sequences };
}

/** The decoder reads the start token and the target but its last. */
function forward(model: Model, batch: readonly Spoken[]) {
  const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  const targets = batch.map(({ target }) => target);
  const read = targets.flatMap((target) => [model.startToken as number, ...target.slice(0, -1)]);
  const encoder = rowsOf(
    batch.map(({ size }) => model.inputRows(size)),
    { features: batch.map(pixels) },
  );
  const decoder = rowsOf(
    targets.map(({ length }) => length),
    Int32Array.from(read),
  );
  const found = model.forward({ encoder, decoder }, ctx);
  const rows = runRows(decoder.sequences);
  const logits = to(model.head('lm', found.decoder.hidden, { ...ctx, rows }), 'f32');
  const wanted = tensor(BigInt64Array.from(targets.flat(), BigInt), [targets.flat().length]);
  return { found, logits, loss: crossEntropy(logits, wanted) };
}

/** The task's own loss of a batch, with its gradients where they are wanted. */
function learnt(model: Model, batch: readonly Spoken[], wants: boolean): number {
  const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  const examples = batch.map((one) => {
    const target = Int32Array.from(one.target);
    const heardRows = model.inputRows(one.size);
    const rows = heardRows + target.length;
    const sound = { features: () => pixels(one) };
    return { sound, key: null, target, heardRows, rows, tokenCount: target.length };
  });
  const units = examples.reduce((sum, { target }) => sum + target.length, 0);
  const shares = [{ run: RUN, examples: examples as unknown as Example[], options: {} }];
  const scales = wants ? new Map([[RUN, 1 / units]]) : null;
  return task.loss(model, shares, ctx, scales).get(RUN)!.totals['loss']! / units;
}

function gradientsOf(adapter: Adapter): Map<string, Float32Array> {
  return new Map(
    [...adapter.parameters].map(([key, parameter]) => {
      const found = floats(parameter.grad!);
      parameter.zeroGrad();
      return [key, found] as const;
    }),
  );
}

function compare(
  model: Model,
  batch: readonly Spoken[],
  golden: ReadonlyMap<string, Float32Array>,
  adapter: Adapter | null,
  tolerance: Tolerance = { hidden: F32, logits: F32, loss: F32, gradients: F32 },
): void {
  tidy(() => {
    const { found, logits, loss } = forward(model, batch);
    const near = (name: string, ours: Float32Array, most: number): void => {
      const theirs = golden.get(name)!;
      expect(ours.length, name).toBe(theirs.length);
      expect(difference(ours, theirs) / largest(theirs), name).toBeLessThan(most);
    };
    near('encoder', floats(found.encoder.hidden), tolerance.hidden);
    near('decoder', floats(found.decoder.hidden), tolerance.hidden);
    near('logits', floats(logits), tolerance.logits);
    near('loss', Float32Array.of(loss.item()), tolerance.loss);
    near('loss', Float32Array.of(learnt(model, batch, adapter !== null)), tolerance.loss);
    if (!adapter) return;
    const theirs = new Map(
      [...golden]
        .filter(([key]) => key.startsWith('grad.'))
        .map(([key, value]) => [ourName(key.slice(5)), value]),
    );
    const ours = gradientsOf(adapter);
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    const top = Math.max(...[...theirs.values()].map(largest));
    for (const [key, gradient] of theirs) {
      const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
      expect(difference(ours.get(key)!, gradient) / scale, key).toBeLessThan(tolerance.gradients);
    }
  });
}

const listed = (value: unknown): unknown =>
  Array.isArray(value) ? [...new Set(value as unknown[])].sort() : value;

/** What is written is what PEFT wrote: same tensors, same config but for the order of lists. */
function compareFiles(adapter: Adapter, peft: Config, family: string, name: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const config = json<HfConfig>(family, 'base', 'config.json');
    const base = { config, tokenizerFiles: null as never };
    writeAdapter(dir, adapter, { base, baseName: '', peft, task: task.peft });
    const ours = values(join(relative(HERE, dir), 'adapter_model.safetensors'));
    const theirs = values(join(family, name, 'adapter_model.safetensors'));
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, value] of ours) {
      const golden = theirs.get(key)!;
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

it('has goldens', () => expect(families).toContain('whisper'));

describe.each(families)('%s', (family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const open = (
    dtype: 'f32' | 'bf16',
    tensors: ReadonlyMap<string, unknown> = file.tensors,
  ): Model => buildModel(config, tensors as typeof file.tensors, { dtype, quantization: null });
  const batches = json<Spoken[][]>(family, 'sounds.json');
  const batch = batches[0]!;
  let model: Model;

  beforeAll(() => void (model = open('f32')));
  afterAll(() => {
    model.dispose();
    file.close();
  });

  const adapted = (on: Model, name: string, act: (adapter: Adapter) => void): void => {
    const peft = configOf(family, name);
    const adapter = attach(on, peft);
    try {
      if (peft) begin(adapter, join(family, name, 'initial.safetensors'));
      act(adapter);
    } finally {
      adapter.detach();
    }
  };
  const cases = casesOf(family, TASK);
  const trained = cases.filter((name) => !name.endsWith('-none'));

  it('hears spectrograms of one length', () => {
    expect(model.inputKind).toBe('audio');
    expect(model.inputRows(batch[0]!.size)).toBe(model.maxPositions);
    expect(() => model.inputRows([6, 4])).toThrow(/expected a spectrogram of .*, got 6 × 4/);
  });

  it('the bare base', () =>
    compare(model, batch, values(join(family, 'speech-none', 'golden.safetensors')), null));

  it.each(trained)('%s', (name) => {
    const golden = values(join(family, name, 'golden.safetensors'));
    const peft = configOf(family, name);
    adapted(model, name, (adapter) => {
      const count = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      const footprint = footprintOf(peft, config);
      expect(footprint.trainableParameters).toBe(count);
      expect(footprint.totalParameters).toBe(model.parameterCount);
      compare(model, batch, golden, adapter);
      if (peft) compareFiles(adapter, peft, family, name);
      const merged = golden.get('merged_logits');
      if (!merged) return;
      const other = open('f32', new Map([...file.tensors, ...(adapter.merged?.() ?? [])]));
      const logits = tidy(() => floats(forward(other, batch).logits)).subarray(0, merged.length);
      expect(difference(logits, merged) / largest(merged), 'merged').toBeLessThan(F32);
      other.dispose();
    });
  });

  it.each(trained.filter((name) => configOf(family, name)))(
    "%s: PEFT's own file, loaded, gives its logits",
    (name) => {
      const stored = readAdapter(join(HERE, family, name));
      const adapter = attach(model, stored.peft as Config, 1);
      try {
        tidy(() => adapter.load(stored.tensors));
        const wanted = values(join(family, name, 'golden.safetensors')).get('logits')!;
        const found = tidy(() => floats(forward(model, batch).logits));
        expect(difference(found, wanted) / largest(wanted)).toBeLessThan(F32);
      } finally {
        adapter.detach();
        stored.dispose();
      }
    },
  );

  it.each(trained)('%s: each step', (name) => {
    const { settings, learning_rates: rates, ...golden } = json<Trajectory>(family, name, 'trajectory.json'); // prettier-ignore
    adapted(model, name, (adapter) => {
      const optimizer = new AdamW(adapter.parameters, {
        weightDecay: settings.weight_decay,
        decays: () => true,
      });
      const [losses, norms]: [number[], number[]] = [[], []];
      for (let step = 0; step < settings.steps; step++) {
        const loss = tidy(() => learnt(model, batches[step % batches.length]!, true));
        losses.push(loss);
        norms.push(optimizer.clip(settings.max_grad_norm));
        optimizer.step(rates[step]!);
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

  interface Facts {
    readonly bf16_against_f32?: Readonly<Record<string, number>>;
  }
  const facts = (name: string): Facts => json<Facts>(family, name, 'golden.json');
  it.each(cases.filter((name) => facts(name).bf16_against_f32))('%s in bf16', (name) => {
    const half = open('bf16');
    const apart = facts(name).bf16_against_f32!;
    const golden = values(join(family, name, 'golden-bf16.safetensors'));
    const tolerance = {
      hidden: 2 * Math.max(apart['encoder']!, apart['decoder']!),
      logits: 2 * apart['logits']!,
      loss: Math.max(2 * apart['loss']!, 5e-3),
      gradients: 2 * apart['gradients']!,
    };
    adapted(half, name, (adapter) => compare(half, batch, golden, adapter, tolerance));
    half.dispose();
  });
});
