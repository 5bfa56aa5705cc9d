// Logits, loss, gradients, merged weights, files and greedy continuations of every golden case equal those of
// transformers and PEFT. The measure is the largest difference over the largest value of the tensor; README.md
// beside says how far f32 itself is from double.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argmax, copy_, mapSafetensors, narrow, noGrad, setThreads, tidy, type Tensor } from '@graft/kernels';
import {
  attachMethod, buildModel, methodFor, methods, models, packedLoss, readAdapter, runRows, writeAdapter,
  type Adapter, type ForwardContext, type Model, type PackedBatch,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesOf, difference, families, firstBatch, floats, HERE, json, largest, ourName, values } from './golden-case.js';

const RUN = 3;
/** Largest difference over largest value; f32 is up to 8e-6 from double here. */
const F32 = 1e-4;
/** A gradient that is zero but for rounding has no scale of its own: it is compared with the case's largest. */
const SCALE_FLOOR = 1e-3;

type Config = { readonly peft_type: string; readonly [field: string]: unknown };
interface Facts {
  readonly greedy?: { readonly prompt: number[]; readonly tokens: number[]; readonly smallest_margin: number };
  readonly bf16_against_f32?: { readonly logits: number; readonly loss: number; readonly gradients: number };
}

const context = (batch: PackedBatch): ForwardContext & { virtual: Map<number, Tensor> } => ({
  training: true,
  runs: new Map([[RUN, { seed: 0, step: 0 }]]),
  rows: runRows(batch.sequences),
  virtual: new Map(),
});

function configOf(family: string, name: string): Config | null {
  return name === 'full' ? null : json<Config>(family, name, 'adapter_config.json');
}

/** The golden's initial state, encoders included. */
function begin(adapter: Adapter, family: string, name: string): void {
  const { tensors, close } = mapSafetensors(join(HERE, family, name, 'initial.safetensors'));
  const named = new Map([...tensors].map(([key, tensor]) => [ourName(key), tensor]));
  expect([...named.keys()].sort()).toEqual([...adapter.parameters.keys()].sort());
  noGrad(() => adapter.parameters.forEach((parameter, key) => copy_(parameter, named.get(key) as Tensor)));
  close();
}

interface Measured {
  readonly logits: Float32Array;
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

function logitsOf(model: Model, batch: PackedBatch): Float32Array {
  const ctx = context(batch);
  return noGrad(() => tidy(() => floats(model.head(model.forward(batch, ctx), ctx))));
}

function measure(model: Model, batch: PackedBatch, adapter: Adapter | null): Measured {
  const logits = logitsOf(model, batch);
  return tidy(() => {
    const ctx = context(batch);
    const hasVirtual = model.sites.inputs.of(RUN) !== undefined;
    const wanted =
      batch.labels.filter((label) => label >= 0).length +
      batch.sequences.filter(({ first }) => hasVirtual && first !== undefined && first >= 0).length;
    const sums = packedLoss(model, model.forward(batch, ctx), batch, ctx, adapter ? new Map([[RUN, 1 / wanted]]) : null);
    const { loss, count } = sums.get(RUN) as { loss: number; count: number };
    expect(count).toBe(wanted);
    const gradients = [...(adapter?.parameters ?? [])].map(([key, parameter]) => [key, floats(parameter.grad as Tensor)] as const);
    return { logits, loss: loss / count, gradients: new Map(gradients) };
  });
}

function compare(ours: Measured, golden: Map<string, Float32Array>, tolerance: { logits: number; loss: number; gradients: number }): void {
  const logits = golden.get('logits') as Float32Array;
  expect(ours.logits.length).toBe(logits.length);
  expect(difference(ours.logits, logits) / largest(logits), 'logits').toBeLessThan(tolerance.logits);
  const [loss] = golden.get('loss') as Float32Array;
  expect(Math.abs(ours.loss - (loss as number)) / (loss as number), 'loss').toBeLessThan(tolerance.loss);
  const theirs = new Map([...golden].filter(([key]) => key.startsWith('grad.')).map(([key, value]) => [ourName(key.slice(5)), value]));
  if (theirs.size > 0) expect([...ours.gradients.keys()].sort()).toEqual([...theirs.keys()].sort());
  const top = Math.max(...[...theirs.values()].map(largest));
  for (const [key, gradient] of theirs) {
    const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
    expect(difference(ours.gradients.get(key) as Float32Array, gradient) / scale, key).toBeLessThan(tolerance.gradients);
  }
}

/** Continues by the cache: one forward over the prompt, then one row a token. */
function greedy(model: Model, prompt: readonly number[], count: number): number[] {
  const cache = model.cache();
  const handle = cache.open(RUN);
  const tokens = [...prompt];
  let at = 0;
  while (tokens.length < prompt.length + count) {
    const rows = tokens.slice(at);
    const batch: PackedBatch = {
      tokens: Int32Array.from(rows),
      positions: Int32Array.from(rows, (_, i) => at + i),
      labels: Int32Array.from(rows, () => -100),
      sequences: [{ run: RUN, start: 0, length: rows.length, cache: handle }],
    };
    const next = noGrad(() =>
      tidy(() => {
        const ctx = { ...context(batch), training: false };
        const last = narrow(model.forward(batch, ctx, cache), 0, rows.length - 1, 1);
        return argmax(model.head(last, { ...ctx, rows: [{ run: RUN, start: 0, length: 1 }] })).item();
      }),
    );
    at = tokens.length;
    tokens.push(next);
  }
  cache.dispose();
  return tokens.slice(prompt.length);
}

const sorted = (value: unknown): unknown => (Array.isArray(value) ? [...(value as unknown[])].sort() : value);

/** What writeAdapter writes is what PEFT wrote: same tensors, same config but for the order of lists. */
function compareFiles(adapter: Adapter, config: Config, family: string, name: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const base = { config: json<{ model_type: string }>(family, 'base', 'config.json'), tokenizerFiles: null as never };
    writeAdapter(dir, adapter, { base, baseName: '', peft: config });
    const file = mapSafetensors(join(dir, 'adapter_model.safetensors'));
    const theirs = values(join(family, name, 'adapter_model.safetensors'));
    expect([...file.tensors.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, tensor] of file.tensors) {
      expect(tensor.dtype).toBe('f32');
      const golden = theirs.get(key) as Float32Array;
      expect(difference(floats(tensor), golden), key).toBeLessThan(1e-6 * Math.max(1, largest(golden)));
    }
    file.close();
    const written = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8')) as Config;
    const [ours, golden] = [written, config].map((c) => Object.fromEntries(Object.entries(c).map(([k, v]) => [k, sorted(v)])));
    expect(ours).toEqual(golden);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function withAdapter(model: Model, family: string, name: string, fn: (adapter: Adapter) => void): void {
  const config = configOf(family, name);
  const adapter = attachMethod(model, config, { run: RUN, seed: 0 });
  try {
    if (config) begin(adapter, family, name);
    fn(adapter);
  } finally {
    adapter.detach();
  }
}

function open(family: string, dtype: 'f32' | 'bf16'): { model: Model; close(): void; tensors: ReadonlyMap<string, Tensor> } {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const model = buildModel(json(family, 'base', 'config.json'), file.tensors, { dtype, quantization: null });
  const close = (): void => {
    model.dispose();
    file.close();
  };
  return { model, close, tensors: file.tensors };
}

beforeAll(() => setThreads(1));

it('every model type and method has golden cases', () => {
  const types = families.map((family) => json<{ model_type: string }>(family, 'base', 'config.json').model_type);
  expect(models.flatMap(({ modelTypes }) => modelTypes).filter((type) => !types.includes(type))).toEqual([]);
  const used = new Set(
    families.flatMap((family) =>
      casesOf(family)
        .filter((name) => name !== 'none')
        .map((name) => methodFor(configOf(family, name)).name),
    ),
  );
  expect(methods.map(({ name }) => name).filter((name) => !used.has(name))).toEqual([]);
});

describe.each(families)('%s', (family) => {
  let base: ReturnType<typeof open>;
  const batch = firstBatch(family, RUN);
  beforeAll(() => {
    base = open(family, 'f32');
  });
  afterAll(() => base.close());

  it('none', () => {
    const golden = values(join(family, 'none', 'golden.safetensors'));
    compare(measure(base.model, batch, null), golden, { logits: F32, loss: F32, gradients: F32 });
    const facts = json<Facts>(family, 'none', 'golden.json');
    if (facts.greedy) expect(greedy(base.model, facts.greedy.prompt, facts.greedy.tokens.length)).toEqual(facts.greedy.tokens);
  });

  for (const name of casesOf(family).filter((each) => each !== 'none')) {
    it(name, () => {
      const golden = values(join(family, name, 'golden.safetensors'));
      const facts = json<Facts>(family, name, 'golden.json');
      const config = configOf(family, name);
      withAdapter(base.model, family, name, (adapter) => {
        compare(measure(base.model, batch, adapter), golden, { logits: F32, loss: F32, gradients: F32 });
        if (config) compareFiles(adapter, config, family, name);
        if (facts.greedy) expect(greedy(base.model, facts.greedy.prompt, facts.greedy.tokens.length)).toEqual(facts.greedy.tokens);
        const merged = golden.get('merged_logits');
        if (merged) {
          const whole = new Map([...base.tensors, ...(adapter.merged?.() ?? [])]);
          const model = buildModel(json(family, 'base', 'config.json'), whole, { dtype: 'f32', quantization: null });
          expect(difference(logitsOf(model, batch), merged) / largest(merged), 'merged').toBeLessThan(F32);
          model.dispose();
        }
      });
      // without the adapter the base is what it was
      const bare = values(join(family, 'none', 'golden.safetensors')).get('logits') as Float32Array;
      expect(difference(logitsOf(base.model, batch), bare) / largest(bare)).toBeLessThan(F32);
    });

    if (name === 'full') continue;
    it(`${name}: PEFT's own file, loaded, gives its logits`, () => {
      const stored = readAdapter(join(HERE, family, name));
      const adapter = attachMethod(base.model, stored.peft, { run: RUN, seed: 1 });
      try {
        tidy(() => adapter.load(stored.tensors));
        const logits = values(join(family, name, 'golden.safetensors')).get('logits') as Float32Array;
        expect(difference(logitsOf(base.model, batch), logits) / largest(logits)).toBeLessThan(F32);
      } finally {
        adapter.detach();
        stored.dispose();
      }
    });
  }
});

// bf16 rounds to 8 bits: two correct programs differ about as much as one of them from f32, which golden.json has.
describe.each(['llama', 'gpt2'])('%s in bf16', (family) => {
  it.each(casesOf(family).filter((name) => json<Facts>(family, name, 'golden.json').bf16_against_f32))('%s', (name) => {
    const base = open(family, 'bf16');
    try {
      const expected = json<Required<Facts>>(family, name, 'golden.json').bf16_against_f32;
      withAdapter(base.model, family, name, (adapter) => {
        const ours = measure(base.model, firstBatch(family, RUN), adapter);
        const tolerance = { logits: 2 * expected.logits, loss: Math.max(2 * expected.loss, 5e-3), gradients: 2 * expected.gradients };
        compare(ours, values(join(family, name, 'golden-bf16.safetensors')), tolerance);
      });
    } finally {
      base.close();
    }
  });
});
