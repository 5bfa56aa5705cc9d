// Logits, loss, gradients, merged weights, files and greedy continuations of every golden case equal those of
// Transformers and PEFT. The measure is the largest difference divided by the largest value of the tensor.
// golden.json has the error of f32 itself against f64.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  argmax,
  mapSafetensors,
  narrow,
  noGrad,
  setThreads,
  tidy,
  type Tensor,
} from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  invokedAt,
  methodFor,
  methods,
  packedLoss,
  readAdapter,
  runRows,
  writeAdapter,
  type Adapter,
  type DecoderBatch,
  type ForwardContext,
  type HfConfig,
  type Model,
  type PackedSequences,
  taskFor,
} from '@graft/peft-core';
import { catalog, operationsOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  baseConfig,
  bases,
  casesOf,
  difference,
  dtypesOf,
  families,
  familiesOf,
  firstBatch,
  floats,
  HERE,
  isTraining,
  json,
  partsOf,
  largest,
  ourName,
  values,
} from './golden-case.js';
import { begin } from './initial.js';

const RUN = 3;
/**
 * Quantizers of which only the matrices are compared, bitwise (libs/peft-core/src/quant). FP4 is NF4 with
 * another code. Transformers dequantizes a GGUF when it loads it, and rounds the inputs of int8 products.
 */
const BY_MATRICES = ['fp4', 'gguf_blocks', 'int8'];
/**
 * Tolerance: largest difference divided by largest value. The error of f32 against f64 is up to 8e-6 here.
 */
const F32 = 1e-4;
const F32_ALL = { logits: F32, loss: F32, gradients: F32 };
/**
 * Tolerances for adapters that start from singular vectors of W (PiSSA, PSOFT). LAPACK computes them in f32,
 * with code that depends on the processor, and close singular values amplify rounding. On a Xeon with AMX,
 * logits differ by up to 1.6e-4 and PSOFT's gradients by 9.1e-4. PiSSA's golden itself differs by 1.1e-4 from
 * the result with f64 vectors.
 */
const F32_DIRECTIONS = { logits: 5e-4, loss: 5e-4, gradients: 2e-3 };
/**
 * Gradients that are zero except for rounding have no separate scale. They are compared with the largest
 * gradient of the case.
 */
const SCALE_FLOOR = 1e-3;

type Config = { readonly peft_type: string; readonly [field: string]: unknown };
interface Facts {
  readonly greedy?: {
    readonly prompt: number[];
    readonly tokens: number[];
    readonly smallest_margin: number;
  };
  readonly bf16_against_f32?: {
    readonly logits: number;
    readonly loss: number;
    readonly gradients: number;
  };
}

const startsFromDirections = (config: Config | null): boolean =>
  config?.peft_type === 'PSOFT' || config?.['init_lora_weights'] === 'pissa';
const f32Of = (config: Config | null): typeof F32_ALL =>
  startsFromDirections(config) ? F32_DIRECTIONS : F32_ALL;

const context = ({ decoder }: DecoderBatch, training = true): ForwardContext => ({
  training,
  runs: new Map([[RUN, { seed: 0, step: 0 }]]),
  rows: runRows(decoder.sequences),
});

/** Config of a case; null for full fine-tuning. */
function configOf(family: string, name: string): Config | null {
  const path = [family, name, 'adapter_config.json'] as const;
  return existsSync(join(HERE, ...path)) ? json<Config>(...path) : null;
}

interface Measured {
  readonly logits: Float32Array;
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

function logitsOf(model: Model, { batch }: PackedSequences, training = true): Float32Array {
  const ctx = context(batch, training);
  return noGrad(() =>
    tidy(() => floats(model.head('lm', model.forward(batch, ctx).decoder.hidden, ctx))),
  );
}

function measure(
  model: Model,
  packed: PackedSequences,
  adapter: Adapter | null,
  training = true,
): Measured {
  const logits = logitsOf(model, packed, training);
  return tidy(() => {
    const { batch, labels, firstLabels } = packed;
    const ctx = context(batch, training);
    const virtual = model.modules.inputs.of(RUN);
    const wanted =
      labels.filter((label) => label >= 0).length +
      firstLabels.filter((label) => virtual && label >= 0).length +
      firstLabels.length * (virtual?.promptTargets?.length ?? 0);
    const sums = packedLoss(
      model,
      model.forward(batch, ctx).decoder,
      packed,
      ctx,
      adapter ? new Map([[RUN, 1 / wanted]]) : null,
    );
    const {
      loss,
      count,
      auxiliaryLoss = 0,
    } = sums.get(RUN) as NonNullable<ReturnType<typeof sums.get>>;
    expect(count).toBe(wanted);
    // PEFT's loss includes the auxiliary loss and the penalty
    const penalty = adapter?.penalty?.();
    penalty?.backward();
    const gradients = [...(adapter?.parameters ?? [])].map(
      ([key, parameter]) => [key, floats(parameter.grad as Tensor)] as const,
    );
    const extraLoss = auxiliaryLoss / count + (penalty?.item() ?? 0);
    return { logits, loss: loss / count + extraLoss, gradients: new Map(gradients) };
  });
}

function compare(
  ours: Measured,
  golden: Map<string, Float32Array>,
  tolerance: { logits: number; loss: number; gradients: number },
): void {
  const logits = golden.get('logits') as Float32Array;
  expect(ours.logits.length).toBe(logits.length);
  expect(difference(ours.logits, logits) / largest(logits), 'logits').toBeLessThan(
    tolerance.logits,
  );
  const [loss] = golden.get('loss') as Float32Array;
  expect(Math.abs(ours.loss - (loss as number)) / (loss as number), 'loss').toBeLessThan(
    tolerance.loss,
  );
  const theirs = new Map(
    [...golden]
      .filter(([key]) => key.startsWith('grad.'))
      .map(([key, value]) => [ourName(key.slice(5)), value]),
  );
  if (theirs.size > 0) expect([...ours.gradients.keys()].sort()).toEqual([...theirs.keys()].sort());
  const top = Math.max(...[...theirs.values()].map(largest));
  for (const [key, gradient] of theirs) {
    const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
    expect(difference(ours.gradients.get(key) as Float32Array, gradient) / scale, key).toBeLessThan(
      tolerance.gradients,
    );
  }
}

/** Generates greedily with the cache: one forward pass over the prompt, then one row per token. */
function greedy(model: Model, prompt: readonly number[], count: number): number[] {
  const cache = model.cache();
  const handle = cache.open(RUN);
  const invocation = model.modules.invocation.of(RUN);
  const begins = invocation ? invokedAt(invocation, prompt) : null;
  const tokens = [...prompt];
  let at = 0;
  while (tokens.length < prompt.length + count) {
    const rows = tokens.slice(at);
    const decoder = {
      inputs: Int32Array.from(rows),
      positions: Int32Array.from(rows, (_, i) => at + i),
      sequences: [{ run: RUN, start: 0, length: rows.length, cache: handle, invokedAt: begins }],
    };
    const batch = { encoder: null, decoder };
    const next = noGrad(() =>
      tidy(() => {
        const ctx = { ...context(batch), training: false };
        const last = narrow(model.forward(batch, ctx, cache).decoder.hidden, 0, rows.length - 1, 1);
        return argmax(
          model.head('lm', last, { ...ctx, rows: [{ run: RUN, start: 0, length: 1 }] }),
        ).item();
      }),
    );
    at = tokens.length;
    tokens.push(next);
  }
  cache.dispose();
  return tokens.slice(prompt.length);
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value) ? [...(value as unknown[])].sort() : value;

/** Folder for adapters that modify the base: the files that PEFT saved for the original base. */
const CONVERTED = 'converted';

/**
 * Checks that writeAdapter writes the files that PEFT wrote: the same tensors, and the same config except for
 * the order of lists.
 */
function compareFiles(adapter: Adapter, trained: Config, family: string, name: string): void {
  const isConverted = existsSync(join(HERE, family, name, CONVERTED));
  const place = isConverted ? join(name, CONVERTED) : name;
  const config = isConverted ? json<Config>(family, place, 'adapter_config.json') : trained;
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const base = {
      config: json<{ model_type: string }>(family, 'base', 'config.json'),
      tokenizerFiles: null as never,
    };
    writeAdapter(dir, adapter, {
      base,
      baseName: '',
      task: taskFor('causal_lm').peft,
      peft: config,
    });
    const file = mapSafetensors(join(dir, 'adapter_model.safetensors'));
    const theirs = values(join(family, place, 'adapter_model.safetensors'));
    const dtypes = dtypesOf(join(family, place, 'adapter_model.safetensors'));
    expect([...file.tensors.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, tensor] of file.tensors) {
      expect(tensor.dtype).toBe(dtypes.get(key));
      const golden = theirs.get(key) as Float32Array;
      expect(difference(floats(tensor), golden), key).toBeLessThan(
        (startsFromDirections(trained) ? 1e-4 : 1e-6) * Math.max(1, largest(golden)),
      );
    }
    file.close();
    const written = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8')) as Config;
    const [ours, golden] = [written, config].map((c) =>
      Object.fromEntries(Object.entries(c).map(([k, v]) => [k, sorted(v)])),
    );
    expect(ours).toEqual(golden);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function withAdapter(
  model: Model,
  family: string,
  name: string,
  fn: (adapter: Adapter) => void,
): void {
  const config = configOf(family, name);
  const adapters = partsOf(family, name);
  const adapter = attachMethod(model, config, { run: RUN, seed: 0, adapters });
  try {
    if (config) begin(adapter, join(family, name, 'initial.safetensors'));
    fn(adapter);
  } finally {
    adapter.detach();
  }
}

function open(
  family: string,
  dtype: 'f32' | 'bf16',
): { model: Model; close(): void; tensors: ReadonlyMap<string, Tensor> } {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
    dtype,
    quantization: null,
  });
  const close = (): void => {
    model.dispose();
    file.close();
  };
  return { model, close, tensors: file.tensors };
}

beforeAll(() => setThreads(1));

it('every plug-in has golden cases', () => {
  const { families: plugins, tasks, quantizers } = catalog();
  const missing = (names: readonly string[], used: readonly (string | undefined)[]): string[] =>
    names.filter((name) => !used.includes(name));
  const configs = bases.map(baseConfig);
  expect(
    missing(
      plugins.flatMap((plugin) => plugin.model_types),
      configs.map((config) => config.model_type),
    ),
  ).toEqual([]);
  expect(
    missing(
      quantizers.map(({ name }) => name),
      [...configs.map((config) => config.quantization_config?.bnb_4bit_quant_type), ...BY_MATRICES],
    ),
  ).toEqual([]);
  expect(tasks.filter(({ name }) => familiesOf(name).length === 0)).toEqual([]);
  const used = bases.flatMap((family) =>
    tasks.flatMap(({ name: task }) =>
      casesOf(family, task)
        .filter((name) => name !== 'none')
        .map((name) => methodFor(configOf(family, name)).name),
    ),
  );
  expect(
    missing(
      methods.map(({ name }) => name),
      used,
    ),
  ).toEqual([]);
});

describe.each(families)('%s', (family) => {
  let base: ReturnType<typeof open>;
  const baseJson = json<HfConfig>(family, 'base', 'config.json');
  const batch = firstBatch(family, RUN);
  beforeAll(() => {
    base = open(family, 'f32');
  });
  afterAll(() => base.close());

  it('none', () => {
    const golden = values(join(family, 'none', 'golden.safetensors'));
    compare(measure(base.model, batch, null), golden, F32_ALL);
    const facts = json<Facts>(family, 'none', 'golden.json');
    if (facts.greedy)
      expect(greedy(base.model, facts.greedy.prompt, facts.greedy.tokens.length)).toEqual(
        facts.greedy.tokens,
      );
  });

  for (const name of casesOf(family).filter((each) => each !== 'none')) {
    it(name, () => {
      const golden = values(join(family, name, 'golden.safetensors'));
      const facts = json<Facts>(family, name, 'golden.json');
      const config = configOf(family, name);
      withAdapter(base.model, family, name, (adapter) => {
        const f32 = f32Of(config);
        compare(measure(base.model, batch, adapter, isTraining(family, name)), golden, f32);
        if (config) compareFiles(adapter, config, family, name);
        const operations =
          config && operationsOf({ peft: config, task: null, base: baseJson, family: null });
        if (operations) expect(operations.includes('merge')).toBe(adapter.merged !== undefined);
        if (facts.greedy)
          expect(greedy(base.model, facts.greedy.prompt, facts.greedy.tokens.length)).toEqual(
            facts.greedy.tokens,
          );
        const merged = golden.get('merged_logits');
        if (merged) {
          const whole = new Map([...base.tensors, ...(adapter.merged?.() ?? [])]);
          const model = buildModel(json(family, 'base', 'config.json'), whole, {
            dtype: 'f32',
            quantization: null,
          });
          expect(
            difference(logitsOf(model, batch).subarray(0, merged.length), merged) / largest(merged),
            'merged',
          ).toBeLessThan(f32.logits);
          model.dispose();
        }
      });
      // without the adapter, the base is unchanged
      const bare = values(join(family, 'none', 'golden.safetensors')).get('logits') as Float32Array;
      expect(difference(logitsOf(base.model, batch), bare) / largest(bare)).toBeLessThan(F32);
    });

    if (name === 'full') continue;
    const files = [name, join(name, CONVERTED)].filter((path) =>
      existsSync(join(HERE, family, path, 'adapter_config.json')),
    );
    it.each(files)("%s: PEFT's file yields its logits", (path) => {
      const stored = readAdapter(join(HERE, family, path));
      const { adapters } = stored;
      const adapter = attachMethod(base.model, stored.peft, { run: RUN, seed: 1, adapters });
      try {
        tidy(() => adapter.load(stored.tensors));
        const logits = values(join(family, name, 'golden.safetensors')).get(
          'logits',
        ) as Float32Array;
        const ours = logitsOf(base.model, batch, isTraining(family, name));
        expect(difference(ours, logits) / largest(logits)).toBeLessThan(
          f32Of(configOf(family, name)).logits,
        );
      } finally {
        adapter.detach();
        stored.dispose();
      }
    });
  }
});

// bf16 rounds to 8 bits. Two correct programs differ from each other about as much as one of them from f32.
// golden.json has that difference.
/**
 * Cases with larger differences of gradients: 2.2 times with AVX2, both with libtorch's products and with
 * ours.
 */
const FURTHER = ['adaption-prompt', 'waveft'];
const halves = (family: string): string[] =>
  casesOf(family).filter((name) => json<Facts>(family, name, 'golden.json').bf16_against_f32);
describe.each(families.filter((family) => halves(family).length > 0))('%s in bf16', (family) => {
  it.each(halves(family))('%s', (name) => {
    const base = open(family, 'bf16');
    try {
      const expected = json<Required<Facts>>(family, name, 'golden.json').bf16_against_f32;
      withAdapter(base.model, family, name, (adapter) => {
        const ours = measure(
          base.model,
          firstBatch(family, RUN),
          adapter,
          isTraining(family, name),
        );
        const tolerance = {
          logits: 2 * expected.logits,
          loss: Math.max(2 * expected.loss, 5e-3),
          gradients: (FURTHER.includes(name) ? 2.5 : 2) * expected.gradients,
        };
        compare(ours, values(join(family, name, 'golden-bf16.safetensors')), tolerance);
      });
    } finally {
      base.close();
    }
  });
});
