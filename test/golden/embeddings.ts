// Tests for all tasks that train embeddings: loss, gradients, twenty steps and files of their goldens.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  readAdapter,
  taskFor,
  writeAdapter,
  type Adapter,
  type Example,
  type HfConfig,
  type Model,
  type Task,
} from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
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
import { RUN, worst, type Trajectory } from './steps.js';

const TOLERANCE = 1e-5;
export const GRADIENTS = 1e-4;
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];

export type Config = { readonly peft_type: string; readonly [field: string]: unknown };
export interface Options {
  readonly scale: number;
  readonly similarity_fct: string;
  readonly pooling_mode: string;
}

interface Goldens<E extends Example> {
  /** Name of the task. */
  readonly of: string;
  readonly family: string;
  /** Examples of the goldens, by batch. */
  readonly batches: readonly (readonly E[])[];
  /** Returns an example with only one input of a record, or null if the record does not have that input. */
  alone(example: E, part: number): E | null;
  /** Pooling modes. */
  readonly modes: readonly string[];
  /** Returns the base model. Only available while tests run. */
  readonly loaded: () => Model;
}

/** Sums over a batch. With `count`, also the gradients of its part of a mean over `count` records. */
export function sumsOf<E extends Example>(
  task: Task<E, unknown, Options>,
  model: Model,
  examples: readonly E[],
  options: Options,
  count: number | null,
) {
  const ctx = { training: count !== null, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  const scales = count === null ? null : new Map([[RUN, 1 / count]]);
  const score = () => tidy(() => task.loss(model, [{ run: RUN, examples, options }], ctx, scales));
  return (count === null ? noGrad(score) : score()).get(RUN)!;
}

/**
 * Maps PEFT's name to ours. PEFT names the modules of the model without a head, so most of its names have no
 * prefix.
 */
export function namedOn(model: Model, name: string): string {
  const own = ourName(name);
  if (!name.startsWith('base_model.model.')) return own;
  const paths = model.modules.linears().map(({ path }) => path);
  const [first = ''] = paths;
  const isWhole = paths.some((path) => own.startsWith(`${path}.`));
  return isWhole ? own : `${first.slice(0, first.indexOf('.') + 1)}${own}`;
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value) ? [...(value as unknown[])].sort() : value;

/** Loads the base model of a family while the tests of a file run. */
export function useBase(family: string, config: HfConfig): () => Model {
  let model: Model;
  let close: () => void;
  beforeAll(() => {
    const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    close = () => file.close();
    model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  });
  afterAll(() => {
    model.dispose();
    close();
  });
  return () => model;
}

export function embeddingGoldens<E extends Example>({
  of,
  family,
  batches,
  alone,
  modes,
  loaded,
}: Goldens<E>) {
  const task = taskFor(of) as unknown as Task<E, unknown, Options>;
  const config = json<HfConfig>(family, 'base', 'config.json');
  const score = (model: Model, batch: readonly E[], options: Options, count: number | null) =>
    sumsOf(task, model, batch, options, count);

  const named = (name: string): string => namedOn(loaded(), name);

  for (const name of casesOf(family, of)) {
    const { options } = json<{ options: Options }>(family, name, 'golden.json');
    const peft = json<Config>(family, name, 'adapter_config.json');
    const attached = (act: (adapter: Adapter) => void, file?: string): void => {
      const adapter = attachMethod(loaded(), peft, { run: RUN, seed: 0 });
      try {
        if (file) begin(adapter, join(family, name, file), named);
        act(adapter);
      } finally {
        adapter.detach();
      }
    };
    const vectors = (): Float32Array => {
      const golden = batches[0]!;
      const all = [0, 1, 2].flatMap((part) => golden.flatMap((one) => alone(one, part) ?? []));
      const ctx = { training: false, runs: new Map() };
      const shares = [{ run: RUN, examples: all, options }];
      return Float32Array.from(
        noGrad(() => tidy(() => task.infer!.answer(loaded(), shares, ctx))).flat() as number[],
      );
    };
    /** The golden vectors, normalized to length 1 as in responses. */
    const expected = (): Float32Array => {
      const golden = values(join(family, name, 'golden.safetensors')).get('embeddings')!;
      const size = loaded().hiddenSize;
      return golden.map((value, i) => {
        const at = i - (i % size);
        return value / Math.hypot(...golden.subarray(at, at + size));
      });
    };

    it(`${name}: embeddings, loss and gradients`, () => {
      const golden = values(join(family, name, 'golden.safetensors'));
      attached((adapter) => {
        expect(difference(vectors(), expected())).toBeLessThan(TOLERANCE);
        const [batch] = batches as [E[]];
        const { units, totals } = score(loaded(), batch, options, batch.length);
        expect(Math.abs(totals['loss']! / units - golden.get('loss')![0]!)).toBeLessThan(
          TOLERANCE * Math.max(1, golden.get('loss')![0]!),
        );
        const theirs = [...golden].filter(([key]) => key.startsWith('grad.'));
        expect(theirs.map(([key]) => named(key.slice(5))).sort()).toEqual(
          [...adapter.parameters.keys()].sort(),
        );
        const top = Math.max(...theirs.map(([, gradient]) => largest(gradient)));
        for (const [key, gradient] of theirs) {
          const ours = floats(adapter.parameters.get(named(key.slice(5)))!.grad!);
          const scale = Math.max(largest(gradient), 1e-3 * top);
          expect(difference(ours, gradient) / scale, key).toBeLessThan(GRADIENTS);
        }
      }, 'initial.safetensors');
    });

    it(`${name}: twenty steps`, () => {
      const trajectory = json<Trajectory & { metrics: Record<string, number>[] }>(
        family,
        name,
        'trajectory.json',
      );
      const { settings, learning_rates: rates } = trajectory;
      attached((adapter) => {
        const optimizer = new AdamW(adapter.parameters, {
          weightDecay: settings.weight_decay,
          decays: () => true,
        });
        const losses: number[] = [];
        const norms: number[] = [];
        for (let step = 0; step < settings.steps; step++) {
          const batch = batches[step % batches.length]!;
          const sums = score(loaded(), batch, options, batch.length);
          losses.push(sums.totals['loss']! / sums.units);
          for (const [metric, value] of Object.entries(trajectory.metrics[step]!))
            expect(sums.totals[metric]! / sums.units, `${metric} of step ${step}`).toBe(value);
          norms.push(optimizer.clip(settings.max_grad_norm));
          optimizer.step(rates[step]!);
        }
        optimizer.dispose();
        expect(worst(losses, trajectory.losses)).toBeLessThan(LOSS);
        expect(worst(norms, trajectory.grad_norms)).toBeLessThan(NORM);
        const final = readNamed(join(family, name, 'final.safetensors'), named);
        for (const [key, parameter] of adapter.parameters) {
          const theirs = floats(final.tensors.get(key)!);
          const apart = difference(floats(parameter), theirs) / largest(theirs);
          expect(apart, key).toBeLessThan(FINAL);
        }
        final.close();
      }, 'initial.safetensors');
    });

    it(`${name}: PEFT's file yields its embeddings, and equals the written one`, () => {
      const stored = readAdapter(join(HERE, family, name), config);
      const dir = mkdtempSync(join(tmpdir(), 'graft-golden-'));
      try {
        attached((adapter) => {
          tidy(() => adapter.load(stored.tensors));
          expect(difference(vectors(), expected())).toBeLessThan(TOLERANCE);
          const base = { config, tokenizerFiles: null as never };
          writeAdapter(dir, adapter, { base, baseName: '', task: task.peft, peft });
        });
        const ours = values(relative(HERE, join(dir, 'adapter_model.safetensors')));
        const theirs = values(join(family, name, 'adapter_model.safetensors'));
        expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
        for (const [key, value] of ours)
          expect(difference(value, theirs.get(key)!), key).toBeLessThan(1e-6);
        const written = JSON.parse(
          readFileSync(join(dir, 'adapter_config.json'), 'utf8'),
        ) as Config;
        const [mine, their] = [written, peft].map((c) =>
          Object.fromEntries(Object.entries(c).map(([k, v]) => [k, sorted(v)])),
        );
        expect(mine).toEqual(their);
      } finally {
        stored.dispose();
        rmSync(dir, { recursive: true });
      }
    });
  }

  it('runs that share a forward pass have the same results as alone, with any pooling', () => {
    const names = casesOf(family, of);
    const parts = modes.map((pooling_mode, i) => {
      const name = names[i % names.length] as string;
      const peft = json<Config>(family, name, 'adapter_config.json');
      const adapter = attachMethod(loaded(), peft, { run: i, seed: i });
      begin(adapter, join(family, name, 'initial.safetensors'), named);
      const options = { scale: 5 + i, similarity_fct: 'cos_sim', pooling_mode };
      return { adapter, share: { run: i, examples: batches[i]!, options } };
    });
    const scored = (some: typeof parts) => {
      const shares = some.map(({ share }) => share);
      const runs = new Map(shares.map(({ run }) => [run, { seed: run, step: 0 }]));
      const scales = new Map(shares.map(({ run, examples }) => [run, 1 / examples.length]));
      const sums = tidy(() => task.loss(loaded(), shares, { training: true, runs }, scales));
      const gradients = some.flatMap(({ adapter }) =>
        [...adapter.parameters.values()].map((parameter) => {
          // No gradient: the pooled hidden states do not depend on this parameter.
          const found = parameter.grad ? floats(parameter.grad) : new Float32Array(1);
          parameter.zeroGrad();
          return found;
        }),
      );
      return { losses: [...sums.values()].map(({ totals }) => totals['loss']!), gradients };
    };
    const together = scored(parts);
    const alone = parts.map((part) => scored([part]));
    const losses = alone.flatMap((one) => one.losses);
    losses.forEach((loss, i) => expect(together.losses[i]).toBeCloseTo(loss, 4));
    for (const [i, gradient] of alone.flatMap((one) => one.gradients).entries())
      expect(difference(together.gradients[i]!, gradient)).toBeLessThan(
        GRADIENTS * Math.max(largest(gradient), 1e-3),
      );
    for (const { adapter } of parts) adapter.detach();
  });
}
