// Encoder–decoder models: hidden states of both stacks, logits, loss, gradients, merged weights, files and
// greedy continuations of every golden case of seq_2_seq_lm equal those of Transformers and PEFT. Same
// measure as in golden.spec.ts.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  crossEntropy,
  mapSafetensors,
  setThreads,
  tensor,
  tidy,
  type Tensor,
} from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  Generation,
  outlineOf,
  readAdapter,
  runRows,
  stepTogether,
  writeAdapter,
  type Adapter,
  type HfConfig,
  type Model,
  type PackedRows,
  type Tokenizer,
  taskFor,
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
import { begin } from './initial.js';

const TASK = 'seq_2_seq_lm';
const RUN = 3;
/**
 * Tolerance: largest difference divided by largest value. The error of f32 against f64 is up to 1.6e-5 here
 * (gradients).
 */
const F32 = 1e-4;
/**
 * Gradients that are zero except for rounding have no separate scale. They are compared with the largest
 * gradient of the case.
 */
const SCALE_FLOOR = 1e-3;

type Config = { readonly peft_type: string; readonly [field: string]: unknown };
interface Pair {
  readonly source: readonly number[];
  readonly target: readonly number[];
}
interface Facts {
  readonly greedy?: { readonly prompt: number[]; readonly tokens: number[] };
}

const configOf = (family: string, name: string): Config | null =>
  name === 'full' || name === 'none' ? null : json<Config>(family, name, 'adapter_config.json');

/** Attaches an adapter as the task does: task_type is not an option of the method. */
const attach = (model: Model, peft: Config | null, run: number, seed: number): Adapter =>
  attachMethod(model, peft && { ...peft, task_type: null }, { run, seed });

function rowsOf(all: readonly (readonly number[])[]): PackedRows {
  let start = 0;
  return {
    inputs: Int32Array.from(all.flat()),
    positions: Int32Array.from(all.flatMap((ids) => ids.map((_, i) => i))),
    sequences: all.map(({ length }) => ({ run: RUN, start: (start += length) - length, length })),
  };
}

/** Batch 0. The decoder's inputs are the start token and the target without its last token. */
function batchOf(family: string, start: number) {
  const pairs = json<Pair[][]>(family, 'batches.json')[0] as Pair[];
  return {
    batch: {
      encoder: rowsOf(pairs.map(({ source }) => source)),
      decoder: rowsOf(pairs.map(({ target }) => [start, ...target.slice(0, -1)])),
    },
    labels: pairs.flatMap(({ target }) => [...target]),
  };
}

interface Measured {
  readonly encoder: Float32Array;
  readonly decoder: Float32Array;
  readonly logits: Float32Array;
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

function measure(model: Model, family: string, adapter: Adapter | null): Measured {
  const { batch, labels } = batchOf(family, model.startToken as number);
  const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  return tidy(() => {
    const { encoder, decoder } = model.forward(batch, ctx);
    const rows = runRows(batch.decoder.sequences);
    const logits = model.head('lm', decoder.hidden, { ...ctx, rows });
    const wanted = tensor(BigInt64Array.from(labels, BigInt), [labels.length]);
    const loss = crossEntropy(logits, wanted);
    if (adapter) loss.backward();
    const gradients = [...(adapter?.parameters ?? [])].map(([key, parameter]) => {
      const found = floats(parameter.grad as Tensor);
      parameter.zeroGrad();
      return [key, found] as const;
    });
    return {
      encoder: floats(encoder.hidden),
      decoder: floats(decoder.hidden),
      logits: floats(logits),
      loss: loss.item(),
      gradients: new Map(gradients),
    };
  });
}

function compare(ours: Measured, golden: ReadonlyMap<string, Float32Array>): void {
  for (const name of ['encoder', 'decoder', 'logits'] as const) {
    const theirs = golden.get(name) as Float32Array;
    expect(ours[name].length, name).toBe(theirs.length);
    expect(difference(ours[name], theirs) / largest(theirs), name).toBeLessThan(F32);
  }
  const [loss] = golden.get('loss') as Float32Array;
  expect(Math.abs(ours.loss - (loss as number)) / (loss as number), 'loss').toBeLessThan(F32);
  const theirs = new Map(
    [...golden]
      .filter(([key]) => key.startsWith('grad.'))
      .map(([key, value]) => [ourName(key.slice(5)), value]),
  );
  expect([...ours.gradients.keys()].sort()).toEqual([...theirs.keys()].sort());
  const top = Math.max(...[...theirs.values()].map(largest));
  for (const [key, gradient] of theirs) {
    const scale = Math.max(largest(gradient), SCALE_FLOOR * top);
    expect(difference(ours.gradients.get(key) as Float32Array, gradient) / scale, key).toBeLessThan(
      F32,
    );
  }
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value) ? [...(value as unknown[])].sort() : value;

/**
 * Checks that writeAdapter writes the files that PEFT wrote: the same tensors, and the same config except for
 * the order of lists.
 */
function compareFiles(adapter: Adapter, config: Config, family: string, name: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
  try {
    const base = {
      config: json<HfConfig>(family, 'base', 'config.json'),
      tokenizerFiles: null as never,
    };
    writeAdapter(dir, adapter, {
      base,
      baseName: '',
      task: taskFor('seq_2_seq_lm').peft,
      peft: config,
    });
    const file = mapSafetensors(join(dir, 'adapter_model.safetensors'));
    const ours = new Map([...file.tensors].map(([key, each]) => [key, floats(each)]));
    file.close();
    const theirs = values(join(family, name, 'adapter_model.safetensors'));
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    for (const [key, value] of ours) {
      const golden = theirs.get(key) as Float32Array;
      expect(difference(value, golden), key).toBeLessThan(1e-6 * Math.max(1, largest(golden)));
    }
    const written = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8')) as Config;
    const [mine, peft] = [written, config].map((c) =>
      Object.fromEntries(Object.entries(c).map(([k, v]) => [k, sorted(v)])),
    );
    expect(mine).toEqual(peft);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

// The golden bases have no tokenizer. Only ids are compared.
const ids = {
  eosIds: [],
  decode: (tokens: number[]) => tokens.join(' '),
} as unknown as Tokenizer;

function generation(model: Model, cache: ReturnType<Model['cache']>, facts: Facts, run = RUN) {
  const { prompt, tokens } = facts.greedy as NonNullable<Facts['greedy']>;
  return new Generation({ model, tokenizer: ids }, cache, {
    messages: null,
    prompt: null,
    promptTokens: prompt,
    run,
    max_tokens: tokens.length,
    temperature: 0,
    top_p: 1,
    seed: 0,
    stop: [],
  });
}

function greedy(model: Model, facts: Facts): number[] {
  const cache = model.cache();
  const answer = generation(model, cache, facts);
  while (!answer.done) answer.step();
  cache.dispose();
  return answer.ids;
}

beforeAll(() => setThreads(1));

const families = bases.filter((family) => casesOf(family, TASK).length > 0);

it('has families', () => expect(families).toContain('t5'));

describe.each(families)('%s', (family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const config = json<HfConfig>(family, 'base', 'config.json');
  const precision = { dtype: 'f32', quantization: null } as const;
  let model: Model;

  beforeAll(() => {
    model = buildModel(config, file.tensors, precision);
  });
  afterAll(() => {
    model.dispose();
    file.close();
  });

  it.each(casesOf(family, TASK))('%s', (name) => {
    const golden = values(join(family, name, 'golden.safetensors'));
    const facts = json<Facts>(family, name, 'golden.json');
    if (name === 'none') {
      compare(measure(model, family, null), golden);
      expect(greedy(model, facts)).toEqual(facts.greedy?.tokens);
      return;
    }
    const peft = configOf(family, name);
    const adapter = attach(model, peft, RUN, 0);
    try {
      const trained = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      const footprint = footprintOf(peft && { ...peft, task_type: null }, config);
      // config.json does not state whether a T5 without scaled outputs has its own head
      const isUntold = model.modules.tied().length > outlineOf(config).tied().length;
      const untold = isUntold ? model.vocabSize * model.hiddenSize : 0;
      expect(footprint.trainableParameters).toBe(trained + (peft ? 0 : untold));
      expect(footprint.totalParameters).toBe(model.parameterCount + untold);
      if (peft) begin(adapter, join(family, name, 'initial.safetensors'));
      compare(measure(model, family, adapter), golden);
      if (peft) compareFiles(adapter, peft, family, name);
      if (facts.greedy) expect(greedy(model, facts)).toEqual(facts.greedy.tokens);
      const merged = golden.get('merged_logits');
      if (merged) {
        const whole = new Map([...file.tensors, ...(adapter.merged?.() ?? [])]);
        const other = buildModel(config, whole, precision);
        const { logits } = measure(other, family, null);
        const first = logits.subarray(0, merged.length);
        expect(difference(first, merged) / largest(merged), 'merged').toBeLessThan(F32);
        other.dispose();
      }
    } finally {
      adapter.detach();
    }
    // without the adapter, the base is unchanged
    compare(measure(model, family, null), values(join(family, 'none', 'golden.safetensors')));
  });

  it.each(casesOf(family, TASK).filter((name) => configOf(family, name)))(
    "%s: PEFT's file yields its logits",
    (name) => {
      const stored = readAdapter(join(HERE, family, name));
      const adapter = attach(model, stored.peft, RUN, 1);
      try {
        tidy(() => adapter.load(stored.tensors));
        const logits = values(join(family, name, 'golden.safetensors')).get('logits');
        const found = measure(model, family, null).logits;
        expect(difference(found, logits as Float32Array)).toBeLessThan(
          F32 * largest(logits as Float32Array),
        );
      } finally {
        adapter.detach();
        stored.dispose();
      }
    },
  );

  it('generates in one batch of several adapters as alone', () => {
    const names = casesOf(family, TASK).filter(
      (name) => json<Facts>(family, name, 'golden.json').greedy,
    );
    const adapters = names.map((name, run) => {
      const peft = configOf(family, name);
      if (!peft) return null;
      const adapter = attach(model, peft, run, 1);
      const stored = readAdapter(join(HERE, family, name));
      tidy(() => adapter.load(stored.tensors));
      stored.dispose();
      return adapter;
    });
    const cache = model.cache();
    try {
      const facts = names.map((name) => json<Facts>(family, name, 'golden.json'));
      const answers = facts.map((each, run) => generation(model, cache, each, run));
      const [last] = answers.splice(-1);
      stepTogether({ model, tokenizer: ids }, cache, answers);
      // one starts later: its source is processed together with the second tokens of the others
      answers.push(last as Generation);
      while (answers.some(({ done }) => !done))
        stepTogether({ model, tokenizer: ids }, cache, answers);
      answers.forEach((answer, i) =>
        expect(answer.ids, names[i]).toEqual(facts[i]?.greedy?.tokens),
      );
    } finally {
      cache.dispose();
      adapters.forEach((adapter) => adapter?.detach());
    }
  });
});
