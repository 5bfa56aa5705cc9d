// Vectors, loss, gradients, twenty steps and files of every feature_extraction golden equal those of sentence-transformers'
// loss written out on transformers and PEFT (stems/feature_extraction.py).
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import {
  add_,
  copy_,
  crossEntropy,
  div,
  mapSafetensors,
  matmul,
  mean,
  mul,
  noGrad,
  norm,
  setThreads,
  stack,
  tensor,
  tidy,
  transpose,
} from '@graft/kernels';
import {
  AdamW,
  attachMethod,
  buildModel,
  readAdapter,
  taskFor,
  writeAdapter,
  type Adapter,
  type HfConfig,
  type Model,
  type Task,
} from '@graft/peft-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  casesOf,
  difference,
  familiesOf,
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
const GRADIENTS = 1e-4;
const [LOSS, NORM, FINAL] = [2e-5, 2e-4, 1e-3];
const TASK = 'feature_extraction';

type Config = { readonly peft_type: string; readonly [field: string]: unknown };
type Tokens = Partial<Record<'anchor' | 'positive' | 'negative', number[]>>;
interface Options {
  readonly scale: number;
  readonly similarity_fct: string;
  readonly pooling_mode: string;
}
interface Texts {
  readonly texts: readonly Int32Array[];
  readonly tokenCount: number;
  readonly rows: number;
}

const task = taskFor(TASK) as Task<Texts, unknown, Options>;

function example(...lists: readonly (readonly number[] | undefined)[]): Texts {
  const texts = lists.filter((list) => list !== undefined).map((list) => Int32Array.from(list));
  const rows = texts.reduce((sum, { length }) => sum + length, 0);
  return { texts, rows, tokenCount: rows };
}

/** Sums over a batch; with `count` also the gradients of its part of a mean over so many. */
function run(model: Model, examples: readonly Texts[], options: Options, count: number | null) {
  const ctx = { training: count !== null, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
  const scales = count === null ? null : new Map([[RUN, 1 / count]]);
  const score = () => tidy(() => task.loss(model, [{ run: RUN, examples, options }], ctx, scales));
  return (count === null ? noGrad(score) : score()).get(RUN)!;
}

function manyTexts(count: number): Texts[] {
  const text = (i: number): number[] =>
    Array.from({ length: 10 + (i % 7) }, (_, at) => 3 + ((i * 31 + at * at * 7) % 80));
  return Array.from({ length: count }, (_, i) => example(text(2 * i), text(2 * i + 1)));
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value) ? [...(value as unknown[])].sort() : value;

beforeAll(() => setThreads(1));

it('has families', () =>
  expect(familiesOf(TASK)).toEqual(expect.arrayContaining(['bert', 'gpt2', 'llama'])));

for (const family of familiesOf(TASK)) {
  describe(family, () => {
    const config = json<HfConfig>(family, 'base', 'config.json');
    let model: Model;
    let close: () => void;
    const batches = json<Tokens[][]>(family, 'texts.json').map((batch) =>
      batch.map(({ anchor, positive, negative }) => example(anchor, positive, negative)),
    );
    beforeAll(() => {
      const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
      close = () => file.close();
      model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
    });
    afterAll(() => {
      model.dispose();
      close();
    });

    /** PEFT's names are those of the model without a head. */
    const named = (name: string): string => {
      const [prefix] = model.modules.embeddings()[0]!.path.split('.');
      const own = ourName(name);
      return name.startsWith('base_model.model.') ? `${prefix}.${own}` : own;
    };

    for (const name of casesOf(family, TASK)) {
      const { options } = json<{ options: Options }>(family, name, 'golden.json');
      const peft = json<Config>(family, name, 'adapter_config.json');
      const attached = (act: (adapter: Adapter) => void, file?: string): void => {
        const adapter = attachMethod(model, peft, { run: RUN, seed: 0 });
        try {
          if (file) begin(adapter, join(family, name, file), named);
          act(adapter);
        } finally {
          adapter.detach();
        }
      };
      const vectors = (): Float32Array => {
        const golden = batches[0]!;
        const all = [0, 1, 2].flatMap((part) =>
          golden.flatMap(({ texts }) => (texts[part] ? [example([...texts[part]])] : [])),
        );
        const ctx = { training: false, runs: new Map() };
        const shares = [{ run: RUN, examples: all, options }];
        return Float32Array.from(
          noGrad(() => tidy(() => task.infer!.answer(model, shares, ctx))).flat() as number[],
        );
      };
      /** As an answer has them: of length 1. */
      const expected = (): Float32Array => {
        const golden = values(join(family, name, 'golden.safetensors')).get('embeddings')!;
        const size = model.hiddenSize;
        return golden.map((value, i) => {
          const at = i - (i % size);
          return value / Math.hypot(...golden.subarray(at, at + size));
        });
      };

      it(`${name}: the vectors, the loss and its gradients`, () => {
        const golden = values(join(family, name, 'golden.safetensors'));
        attached((adapter) => {
          expect(difference(vectors(), expected())).toBeLessThan(TOLERANCE);
          const [batch] = batches as [Texts[]];
          const { units, totals } = run(model, batch, options, batch.length);
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
            const sums = run(model, batch, options, batch.length);
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

      it(`${name}: PEFT's own file gives its vectors, and is what is written`, () => {
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

    it('runs that share a forward have what each has alone, whatever they pool', () => {
      const names = casesOf(family, TASK);
      const parts = ['mean', 'cls', 'lasttoken'].map((pooling_mode, i) => {
        const name = names[i % names.length] as string;
        const peft = json<Config>(family, name, 'adapter_config.json');
        const adapter = attachMethod(model, peft, { run: i, seed: i });
        begin(adapter, join(family, name, 'initial.safetensors'), named);
        const options = { scale: 5 + i, similarity_fct: 'cos_sim', pooling_mode };
        return { adapter, share: { run: i, examples: batches[i]!, options } };
      });
      const score = (some: typeof parts) => {
        const shares = some.map(({ share }) => share);
        const runs = new Map(shares.map(({ run }) => [run, { seed: run, step: 0 }]));
        const scales = new Map(shares.map(({ run, examples }) => [run, 1 / examples.length]));
        const sums = tidy(() => task.loss(model, shares, { training: true, runs }, scales));
        const gradients = some.flatMap(({ adapter }) =>
          [...adapter.parameters.values()].map((parameter) => {
            const found = floats(parameter.grad!);
            parameter.zeroGrad();
            return found;
          }),
        );
        return { losses: [...sums.values()].map(({ totals }) => totals['loss']!), gradients };
      };
      const together = score(parts);
      const alone = parts.map((part) => score([part]));
      const losses = alone.flatMap((one) => one.losses);
      losses.forEach((loss, i) => expect(together.losses[i]).toBeCloseTo(loss, 4));
      for (const [i, gradient] of alone.flatMap((one) => one.gradients).entries())
        expect(difference(together.gradients[i]!, gradient)).toBeLessThan(
          GRADIENTS * Math.max(largest(gradient), 1e-3),
        );
      for (const { adapter } of parts) adapter.detach();
    });

    // Else the gradient of a piece would be that of another mask than its vectors had.
    it('a batch that takes several forwards drops the same twice', () => {
      const peft = { peft_type: 'LORA', r: 4, lora_dropout: 0.4, target_modules: 'all-linear' };
      const adapter = attachMethod(model, peft, { run: RUN, seed: 0 });
      const wave = (salt: number) => (_: number, i: number) => 0.3 * Math.sin(1.7 * i + salt);
      [...adapter.parameters.values()].forEach((parameter, salt) =>
        noGrad(() =>
          copy_(parameter, tensor(floats(parameter).map(wave(salt)), [...parameter.shape])),
        ),
      );
      const examples = manyTexts(100);
      const options = { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' };
      const mean = (): number => {
        const { units, totals } = run(model, examples, options, examples.length);
        return totals['loss']! / units;
      };
      const first = mean();
      // BERT's pooler is a linear as others are, and its vector is not taken.
      const moved = [...adapter.parameters.values()].filter(({ grad }) => grad !== null);
      const gradients = moved.map(({ grad }) => floats(grad!));
      const norm2 = gradients.reduce((sum, g) => sum + g.reduce((s, x) => s + x * x, 0), 0);
      const move = (by: number): void =>
        moved.forEach((parameter, i) => {
          parameter.zeroGrad();
          const step = gradients[i]!.map((x) => (by * x) / Math.sqrt(norm2));
          noGrad(() => add_(parameter, tensor(step, [...parameter.shape])));
        });
      const far = 2e-3;
      move(far);
      const ahead = mean();
      move(-2 * far);
      const behind = mean();
      expect((ahead - behind) / (2 * far) / Math.sqrt(norm2)).toBeCloseTo(1, 1);
      expect(first).toBeGreaterThan(0);
      adapter.detach();
    });

    // Every record's texts are others', so that a wrong piece shows.
    it('a batch that takes several forwards has the loss and gradients of one', () => {
      const [name] = casesOf(family, TASK) as [string];
      const peft = json<Config>(family, name, 'adapter_config.json');
      const options = { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' };
      const examples = manyTexts(100);
      expect(examples.reduce((sum, { rows }) => sum + rows, 0)).toBeGreaterThan(2048);
      const adapter = attachMethod(model, peft, { run: RUN, seed: 0 });
      begin(adapter, join(family, name, 'initial.safetensors'), named);
      const gradients = (): Map<string, Float32Array> =>
        new Map([...adapter.parameters].map(([key, { grad }]) => [key, floats(grad!)]));
      const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
      const whole = tidy(() => {
        const vector = (tokens: Int32Array) => {
          const sequences = [{ run: RUN, start: 0, length: tokens.length }];
          const positions = Int32Array.from(tokens, (_, i) => i);
          const rows = { inputs: tokens, positions, sequences };
          const made = model.forward(
            model.stacks.encoder
              ? { encoder: rows, decoder: null }
              : { encoder: null, decoder: rows },
            ctx,
          );
          const pooled = mean((made.encoder ?? made.decoder)!.hidden, [0]);
          return div(pooled, norm(pooled));
        };
        const [anchors, positives] = [0, 1].map((part) =>
          stack(examples.map(({ texts }) => vector(texts[part]!))),
        );
        const scores = mul(matmul(anchors!, transpose(positives!, 0, 1)), options.scale);
        const labels = tensor(
          BigInt64Array.from(examples, (_, i) => BigInt(i)),
          [examples.length],
        );
        const loss = crossEntropy(scores, labels, { reduction: 'mean' });
        loss.backward();
        return loss.item();
      });
      const expected = gradients();
      adapter.parameters.forEach((parameter) => parameter.zeroGrad());
      const { units, totals } = run(model, examples, options, examples.length);
      expect(totals['loss']! / units).toBeCloseTo(whole, 4);
      for (const [key, gradient] of gradients())
        expect(
          difference(gradient, expected.get(key)!) / largest(expected.get(key)!),
          key,
        ).toBeLessThan(GRADIENTS);
      adapter.detach();
    });
  });
}
