// Real weights: logits of SmolLM2-135M-Instruct and a 20-step LoRA trajectory, compared with transformers and
// PEFT in f32.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  attachMethod,
  loadBase,
  packBatch,
  readAdapter,
  runRows,
  type Base,
} from '@graft/peft-core';
import { logsumexp, noGrad, setThreads, tidy } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { example, RUN, train, worst, type HfSequence, type Trajectory } from '../golden/steps.js';
import { GGUF, GOLDEN, ready } from './smollm2.js';

const there = ready("SmolLM2's numbers");
/** Relative tolerance; the reference itself is within 2.75e-5 of a double-precision computation. */
const TOLERANCE = 1e-4;

interface Golden {
  readonly logits: {
    readonly tokens: readonly number[];
    readonly top: readonly {
      position: number;
      ids: number[];
      values: number[];
      logsumexp: number;
    }[];
  };
}

const json = <T>(name: string): T => JSON.parse(readFileSync(join(GOLDEN, name), 'utf8')) as T;

describe.skipIf(!there)('SmolLM2-135M', () => {
  let base: Base;
  beforeAll(() => {
    setThreads(2);
    base = loadBase(GGUF, { dtype: 'f32', quantization: null });
  });
  afterAll(() => base.dispose());

  it('has the logits of transformers', () => {
    const { tokens, top } = json<Golden>('golden.json').logits;
    expect(top).toHaveLength(8);
    const { batch } = packBatch([
      { run: RUN, examples: [example({ tokens, labels: tokens.map(() => -100) })] },
    ]);
    const ctx = { training: false, runs: new Map(), rows: runRows(batch.decoder.sequences) };
    const [logits, sums] = tidy(() =>
      noGrad(() => {
        const z = base.model.head('lm', base.model.forward(batch, ctx).decoder.hidden, ctx);
        return [z.toArray(), logsumexp(z, -1).toArray()] as [Float32Array, Float32Array];
      }),
    );
    for (const { position, ids, values, logsumexp: sum } of top) {
      const row = logits.subarray(
        position * base.model.vocabSize,
        (position + 1) * base.model.vocabSize,
      );
      expect(
        worst(
          ids.map((id) => row[id] as number),
          values,
        ),
        `position ${position}`,
      ).toBeLessThan(TOLERANCE);
      expect(worst([sums[position] as number], [sum])).toBeLessThan(TOLERANCE);
      const best = [...row.keys()]
        .sort((a, b) => (row[b] as number) - (row[a] as number))
        .slice(0, 10);
      expect(best).toEqual(ids);
    }
  });

  it('takes the same twenty LoRA steps as PEFT', { timeout: 400_000 }, () => {
    const { peft, tensors, dispose } = readAdapter(GOLDEN);
    const adapter = attachMethod(base.model, peft, { run: RUN, seed: 0 });
    adapter.load(tensors);
    dispose();
    const batches = json<HfSequence[][]>('batches.json').map((batch) => batch.map(example));
    const trajectory = json<Trajectory>('trajectory.json');
    const { losses, norms } = train(base.model, adapter, batches, trajectory, 1e9);
    adapter.detach();
    expect(worst(losses, trajectory.losses)).toBeLessThan(TOLERANCE);
    expect(worst(norms, trajectory.grad_norms)).toBeLessThan(1e-3);
  });
});
