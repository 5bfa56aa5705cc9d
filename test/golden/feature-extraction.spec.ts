// Embeddings, loss, gradients, twenty steps and files of every feature_extraction golden equal those of
// sentence-transformers' loss, reimplemented on Transformers and PEFT (stems/feature_extraction.py).
import {
  add_,
  copy_,
  crossEntropy,
  div,
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
import { join } from 'node:path';
import { attachMethod, taskFor, type HfConfig, type Model, type Task } from '@graft/peft-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  namedOn,
  embeddingGoldens,
  GRADIENTS,
  sumsOf,
  useBase,
  type Config,
  type Options,
} from './embeddings.js';
import { casesOf, difference, familiesOf, floats, json, largest } from './golden-case.js';
import { begin } from './initial.js';
import { RUN } from './steps.js';

const TASK = 'feature_extraction';

type Tokens = Partial<Record<'anchor' | 'positive' | 'negative', number[]>>;
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

const run = (model: Model, examples: readonly Texts[], options: Options, count: number | null) =>
  sumsOf(task, model, examples, options, count);

function manyTexts(count: number): Texts[] {
  const text = (i: number): number[] =>
    Array.from({ length: 10 + (i % 7) }, (_, at) => 3 + ((i * 31 + at * at * 7) % 80));
  return Array.from({ length: count }, (_, i) => example(text(2 * i), text(2 * i + 1)));
}

beforeAll(() => setThreads(1));

it('has families', () =>
  expect(familiesOf(TASK)).toEqual(expect.arrayContaining(['bert', 'gpt2', 'llama'])));

for (const family of familiesOf(TASK)) {
  describe(family, () => {
    const config = json<HfConfig>(family, 'base', 'config.json');
    const loaded = useBase(family, config);
    const batches = json<Tokens[][]>(family, 'texts.json').map((batch) =>
      batch.map(({ anchor, positive, negative }) => example(anchor, positive, negative)),
    );
    const named = (name: string): string => namedOn(loaded(), name);

    embeddingGoldens({
      of: TASK,
      family,
      batches,
      alone: ({ texts }, part) => (texts[part] ? example([...texts[part]]) : null),
      modes: ['mean', 'cls', 'lasttoken'],
      loaded,
    });

    // Otherwise the gradient of a micro-batch would use another dropout mask than its embeddings.
    it('a split batch uses the same dropout masks in both passes', () => {
      const peft = { peft_type: 'LORA', r: 4, lora_dropout: 0.4, target_modules: 'all-linear' };
      const adapter = attachMethod(loaded(), peft, { run: RUN, seed: 0 });
      const wave = (salt: number) => (_: number, i: number) => 0.3 * Math.sin(1.7 * i + salt);
      [...adapter.parameters.values()].forEach((parameter, salt) =>
        noGrad(() =>
          copy_(parameter, tensor(floats(parameter).map(wave(salt)), [...parameter.shape])),
        ),
      );
      const examples = manyTexts(100);
      const options = { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' };
      const mean = (): number => {
        const { units, totals } = run(loaded(), examples, options, examples.length);
        return totals['loss']! / units;
      };
      const first = mean();
      // BERT's pooler is an ordinary linear layer, but its output is not used here.
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

    // Every record has different texts, so that a wrong micro-batch shows.
    it('a split batch has the same loss and gradients as an unsplit one', () => {
      const [name] = casesOf(family, TASK) as [string];
      const peft = json<Config>(family, name, 'adapter_config.json');
      const options = { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' };
      const examples = manyTexts(100);
      expect(examples.reduce((sum, { rows }) => sum + rows, 0)).toBeGreaterThan(2048);
      const adapter = attachMethod(loaded(), peft, { run: RUN, seed: 0 });
      begin(adapter, join(family, name, 'initial.safetensors'), named);
      const gradients = (): Map<string, Float32Array> =>
        new Map([...adapter.parameters].map(([key, { grad }]) => [key, floats(grad!)]));
      const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
      const whole = tidy(() => {
        const vector = (tokens: Int32Array) => {
          const sequences = [{ run: RUN, start: 0, length: tokens.length }];
          const positions = Int32Array.from(tokens, (_, i) => i);
          const rows = { inputs: tokens, positions, sequences };
          const made = loaded().forward(
            loaded().stacks.encoder
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
      const { units, totals } = run(loaded(), examples, options, examples.length);
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
