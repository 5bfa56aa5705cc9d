// Every model type with every method: a training step, a continuation with the cache, and files saved and
// loaded. Packing: runs that share a base produce the same as alone. In the default tier, a method alone is
// tested on bases of different kinds (covering.ts), and in one batch with all other methods on every base.
import { join } from 'node:path';
import {
  add,
  backward,
  copy_,
  counterNormal,
  keep,
  mapSafetensors,
  mul,
  noGrad,
  Recomputation,
  setThreads,
  sum,
  tidy,
  type Tensor,
} from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  invokedAt,
  methods,
  packBatch,
  prepareStart,
  RunData,
  runRows,
  startsFromData,
  taskFor,
  type Adapter,
  type DecoderBatch,
  type ForwardContext,
  type Model,
  type NamedTensors,
  type TokenSequence,
} from '@graft/peft-core';
import { footprintOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  baseConfig,
  bases,
  difference,
  expectSameBits,
  families,
  floats,
  HERE,
  json,
  largest,
} from './golden-case.js';
import { testSpec } from '../test-spec.js';
import { isAllTier } from '../tier.js';
import { covering } from './covering.js';
import { LISTED, type Config } from './matrix-configs.js';
import { ALWAYS, BASES, kindOfBase, kindOfConfig } from './matrix-kinds.js';
import { partConfigs, partsFor } from './mixed-loras.js';

const TYPES = [...new Set(families.map((family) => baseConfig(family).model_type))];
/** Families with the same type as another one but a different structure. */
const VARIANTS = ['opt-projected', 'falcon-new', 'falcon-rw'];
const FAMILIES = [
  ...TYPES.map((type) => families.find((each) => baseConfig(each).model_type === type) as string),
  ...VARIANTS,
];
const isListed = (method: string): boolean =>
  LISTED.some(([, config]) => (config?.peft_type ?? 'FULL') === method);
const UNLISTED = methods
  .filter(({ name }) => !isListed(name))
  .map(({ name }) => [name, { peft_type: name }] as const);
const CONFIGS: typeof LISTED = [...LISTED, ...UNLISTED];

const tokenize = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0) % 90);

function examples(salt: number, lengths: readonly number[]): TokenSequence[] {
  return lengths.map((length, i) => ({
    tokens: Int32Array.from({ length }, (_, j) => 3 + ((j * 37 + i * 11 + salt * 53) % 80)),
    labels: Int32Array.from({ length }, () => -100),
    first: -100,
  }));
}

/** Result of a config's data-driven initialization on its own data; empty if it uses no data. */
function foundBy(model: Model, peft: Config, run: number): NamedTensors {
  const spec = testSpec({ peft, seed: run, shuffle: false });
  if (!startsFromData(spec)) return new Map();
  const learnt = examples(run, [9, 14, 11, 8]).map((one) => ({
    ...one,
    labels: Int32Array.from(one.tokens, (_, i) => one.tokens[i + 1] ?? -100),
    rows: one.tokens.length,
    tokenCount: one.tokens.length,
  }));
  const task = taskFor('causal_lm');
  const data = new RunData(spec, learnt, []);
  const looking = prepareStart(model, { task, spec, data }, { id: run, head: null });
  for (;;) {
    const { done, value } = looking.next();
    if (done) return value;
  }
}

const context = ({ decoder }: DecoderBatch, step = 1): ForwardContext => ({
  training: true,
  // different seeds, as in jobs
  runs: new Map(decoder.sequences.map(({ run }) => [run, { seed: 100 + run, step }])),
  rows: runRows(decoder.sequences),
});

interface Outcome {
  readonly logits: Float32Array;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Logits of each run's rows, and gradients of a loss that weights every logit differently. */
function step(
  model: Model,
  batch: DecoderBatch,
  adapters: ReadonlyMap<number, Adapter>,
  recomputation?: Recomputation,
): Map<number, Outcome> {
  return tidy(() => {
    const ctx = { ...context(batch), recomputation };
    const logits = model.head('lm', model.forward(batch, ctx).decoder.hidden, ctx);
    const width = model.vocabSize;
    const all = floats(logits);
    const loss = sum(mul(logits, logits));
    if (loss.requiresGrad) backward([loss], [null]);
    return new Map(
      ctx.rows.map(({ run, start, length }) => {
        const adapter = adapters.get(run);
        const gradients = [...(adapter?.parameters ?? [])].map(([name, parameter]) => {
          const gradient = floats(parameter.grad as Tensor);
          parameter.zeroGrad();
          return [name, gradient] as const;
        });
        return [
          run,
          {
            logits: all.slice(start * width, (start + length) * width),
            gradients: new Map(gradients),
          },
        ];
      }),
    );
  });
}

/** Runs a step that recomputes its layers in the backward pass. */
function recomputed(...given: [Model, DecoderBatch, ReadonlyMap<number, Adapter>]) {
  const recomputation = new Recomputation();
  try {
    return step(...given, recomputation);
  } finally {
    recomputation.dispose();
  }
}

/**
 * Tolerance: largest difference divided by largest value. A packed batch sums its products in another order
 * than a run alone, and the order depends on the processor. The error of logits against f64 is up to 2.9e-6
 * (golden.json), so two results may differ by twice as much. Measured: below 1e-6.
 */
const SAME_LOGITS = 6e-6;
/**
 * Tolerance of gradients. The loss squares every logit, so gradients are long sums that cancel: up to 4e4 on
 * opt-projected. Measured: 2.6e-5 for LoRA on BLOOM with GRAFT_ISA=generic and for X-LoRA's classifier;
 * 1.7e-5 for GraLoRA on opt-projected with AVX2 and AVX-512.
 */
const SAME_GRADIENTS = 5e-5;
/** Tolerance of logits computed row by row with the cache. Measured: 6e-6 with AVX2. */
const SAME_BY_ROWS = 1.5e-5;

function expectSame(ours: Outcome, theirs: Outcome): void {
  expect(difference(ours.logits, theirs.logits) / largest(theirs.logits)).toBeLessThan(SAME_LOGITS);
  expect([...ours.gradients.keys()]).toEqual([...theirs.gradients.keys()]);
  const top = Math.max(...[...theirs.gradients.values()].map(largest));
  for (const [name, gradient] of theirs.gradients) {
    // zero if no token of a run is trainable
    const scale = Math.max(largest(gradient), 1e-2 * top) || 1;
    expect(
      difference(ours.gradients.get(name) as Float32Array, gradient) / scale,
      name,
    ).toBeLessThan(SAME_GRADIENTS);
  }
}

beforeAll(() => setThreads(1));

/**
 * Perturbs parameters from their initialization, because a parameter multiplied by a zero would get no
 * gradient.
 */
function stir({ parameters }: Adapter): void {
  noGrad(() =>
    tidy(() => {
      let at = 0;
      for (const parameter of parameters.values()) {
        copy_(
          parameter,
          add(
            parameter,
            mul(counterNormal(parameter.shape, { seed: 7, step: 0, site: 0 }, at), 0.1),
          ),
        );
        at += parameter.size;
      }
    }),
  );
}

/** Whether config.json is enough to reject a method that PEFT does not support for a family. */
function isRefused(config: Config, family: string): boolean {
  try {
    footprintOf(config, { ...baseConfig(family) }, false, null, partConfigs(config));
    return false;
  } catch (error) {
    if ((error as { code?: string }).code === 'unsupported') return true;
    throw error;
  }
}

const configOf = new Map(CONFIGS);
/**
 * Cases that run alone. In the default tier these are a selection; the other cases run in the batch of all
 * methods.
 */
const runsAlone = isAllTier
  ? () => true
  : covering({
      rows: CONFIGS.map(([name, config]) => ({ name, kind: kindOfConfig(config) })),
      columns: FAMILIES.map((name) => ({ name, kind: kindOfBase(name) })),
      has: (name, family) => !isRefused(configOf.get(name) ?? null, family),
      always: ALWAYS,
    });

it('the kinds contain existing bases only, each once', () => {
  const sorted = Object.values(BASES).flatMap((kind) => kind.bases);
  expect(sorted.filter((family) => !bases.includes(family))).toEqual([]);
  expect(new Set(sorted).size).toBe(sorted.length);
});

describe.each(FAMILIES)('%s', (family) => {
  const configs = CONFIGS.filter(([, config]) => !isRefused(config, family));
  let model: Model;
  let close: () => void;

  beforeAll(() => {
    const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
      dtype: 'f32',
      quantization: null,
    });
    close = () => {
      model.dispose();
      file.close();
    };
  });
  afterAll(() => close());

  const attach = (config: Config, run: number): Adapter => {
    const found = foundBy(model, config, run);
    const adapters = partsFor(model, config);
    const adapter = attachMethod(model, config, { run, seed: run, tokenize, adapters, found });
    found.forEach((tensor) => tensor.dispose());
    const isClosed =
      config?.peft_type === 'ADAPTION_PROMPT' || config?.['init_lora_weights'] === 'eva';
    if (isClosed || UNLISTED.some(([, unlisted]) => unlisted === config)) stir(adapter);
    return adapter;
  };

  it.each(CONFIGS.filter(([, config]) => isRefused(config, family)))('rejects %s', (_, config) => {
    expect(() => attach(config, 1)).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        // also modules that PEFT treats as experts, and options that it rejects with them
        param: expect.stringMatching(
          /^peft\.(peft_type|target_modules|lora_dropout|init_lora_weights)$/,
        ) as unknown,
      }),
    );
  });

  it.each(configs.filter(([name]) => runsAlone(name, family)))(
    '%s: trains every parameter, continues with the cache, and loads its file',
    (_, config) => {
      const adapter = attach(config, 1);
      const count = ({ parameters }: Adapter): number =>
        [...parameters.values()].reduce((total, { size }) => total + size, 0);
      const promised = (peft: Config, begun: boolean): number =>
        footprintOf(peft, model.config, begun, null, partConfigs(config)).trainableParameters;
      try {
        expect(count(adapter)).toBe(promised(config, false));
        const learnt = examples(0, [7, 12, 9]);
        const { batch } = packBatch([{ run: 1, examples: learnt }]);
        const tokens = [...(learnt[0] as TokenSequence).tokens];
        const { gradients } = step(model, batch, new Map([[1, adapter]])).get(1) as Outcome;
        for (const [name, gradient] of gradients) {
          expect(gradient.every(Number.isFinite), name).toBe(true);
          expect(largest(gradient), name).toBeGreaterThan(0);
        }
        const whole = evaluate(model, 1, tokens, [7]);
        const pieces = evaluate(model, 1, tokens, [3, 1, 2, 1]);
        expect(difference(pieces, whole) / largest(whole)).toBeLessThan(SAME_BY_ROWS);

        const saved = tidy(
          () =>
            new Map(
              [...adapter.exported()].map(([name, tensor]) => [
                name,
                keep(mul(tensor, 1).detach()),
              ]),
            ),
        );
        // a loaded adapter does not repeat its initialization, because the file contains the result
        const isOver = startsFromData({ peft: config });
        const written = isOver ? { peft_type: 'LORA', ...adapter.resolvedConfig() } : config;
        adapter.detach();
        const adapters = partsFor(model, config);
        const again = attachMethod(model, written, { run: 1, seed: 99, tokenize, adapters });
        again.load(saved);
        expect(count(again)).toBe(promised(written, true));
        saved.forEach((tensor) => tensor.dispose());
        const reloaded = evaluate(model, 1, tokens, [7]);
        again.detach();
        // the file stores one low-rank product, the initialization was the difference of two: measured
        // 1.07e-6
        const most = isOver ? 2e-6 : 1e-6;
        expect(difference(reloaded, whole) / largest(whole)).toBeLessThan(most);
      } finally {
        model.modules.detach(1);
      }
    },
  );

  it('runs of all methods in one batch equal each alone, and recomputed', () => {
    const adapters = new Map(configs.map(([, config], i) => [i + 1, attach(config, i + 1)]));
    const parts = [...adapters.keys()].map((run) => ({
      run,
      examples: examples(run, [5 + (run % 24), 8]),
    }));
    // one more run, on the bare base
    parts.push({ run: 0, examples: examples(0, [6]) });
    try {
      const { batch } = packBatch(parts);
      // before the adapters have computed anything that they cache
      const again = recomputed(model, batch, adapters);
      const together = step(model, batch, adapters);
      expect([...again.keys()]).toEqual([...together.keys()]);
      for (const [run, { logits, gradients }] of together) {
        const once = again.get(run) as Outcome;
        expectSameBits(new Map([['logits', once.logits]]), new Map([['logits', logits]]));
        expectSameBits(once.gradients, gradients);
      }
      for (const part of parts) {
        const { batch: own } = packBatch([part]);
        const alone = step(model, own, adapters);
        expectSame(together.get(part.run) as Outcome, alone.get(part.run) as Outcome);
      }
    } finally {
      adapters.forEach((adapter) => adapter.detach());
    }
  });

  it('sequences of several runs decode in one batch as each does alone', () => {
    const adapters = configs.map(([, config], i) => attach(config, i + 1));
    try {
      const tokens = [5, 40, 42, 8, 23];
      const together = decodeTogether(
        model,
        configs.map((_, i) => i + 1),
        tokens,
      );
      configs.forEach(([name], i) => {
        const alone = evaluate(model, i + 1, tokens, [5]).slice(-model.vocabSize);
        expect(difference(together[i] as Float32Array, alone) / largest(alone), name).toBeLessThan(
          SAME_BY_ROWS,
        );
      });
    } finally {
      adapters.forEach((adapter) => adapter.detach());
    }
  });
});

/** Position from which the run's adapter acts, if it has an invocation sequence. */
function begins(model: Model, run: number, tokens: readonly number[]): number | null {
  const invocation = model.modules.invocation.of(run);
  return invocation ? invokedAt(invocation, tokens) : null;
}

/** Batch with `count` rows per run, at the same positions. */
function rowOf(
  model: Model,
  runs: readonly number[],
  tokens: readonly number[],
  at: number,
  count: number,
  handles: readonly number[],
): DecoderBatch {
  const each = tokens.slice(at, at + count);
  const decoder = {
    inputs: Int32Array.from(runs.flatMap(() => each)),
    positions: Int32Array.from(runs.flatMap(() => each.map((_, i) => at + i))),
    sequences: runs.map((run, i) => ({
      run,
      start: i * count,
      length: count,
      cache: handles[i] as number,
      invokedAt: begins(model, run, tokens),
    })),
  };
  return { encoder: null, decoder };
}

function logitsOf(
  model: Model,
  batch: DecoderBatch,
  cache: ReturnType<Model['cache']>,
): Float32Array {
  const ctx = { ...context(batch), training: false };
  return noGrad(() =>
    tidy(() => floats(model.head('lm', model.forward(batch, ctx, cache).decoder.hidden, ctx))),
  );
}

/** Logits of all rows, computed in pieces with a cache. */
function evaluate(
  model: Model,
  run: number,
  tokens: readonly number[],
  pieces: readonly number[],
): Float32Array {
  const cache = model.cache();
  const handle = cache.open(run);
  const found: number[] = [];
  let at = 0;
  for (const count of pieces) {
    found.push(...logitsOf(model, rowOf(model, [run], tokens, at, count, [handle]), cache));
    at += count;
  }
  cache.dispose();
  return Float32Array.from(found);
}

/** Logits after the last token for each run: a joint prefill, then one row per run at a time. */
function decodeTogether(
  model: Model,
  runs: readonly number[],
  tokens: readonly number[],
): Float32Array[] {
  const cache = model.cache();
  const handles = runs.map((run) => cache.open(run));
  logitsOf(model, rowOf(model, runs, tokens, 0, 3, handles), cache);
  let last = new Float32Array();
  for (let at = 3; at < tokens.length; at++)
    last = Float32Array.from(logitsOf(model, rowOf(model, runs, tokens, at, 1, handles), cache));
  cache.dispose();
  return runs.map((_, i) => last.slice(i * model.vocabSize, (i + 1) * model.vocabSize));
}
