// Pairs of answers to one prompt, whose rows stand there once, come to what they come to apart: hidden states, and the
// gradients of a LoRA, for every decoder.
import { join } from 'node:path';
import { backward, indexSelect, mapSafetensors, setThreads, tensor, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { attachMethod, buildModel, packBatch, packPairs } from '@graft/peft-core';
import type { DecoderBatch, Model, PeftConfig, TokenSequence } from '@graft/peft-core';
import { beforeAll, expect, it } from 'vitest';
import { difference, families, floats, HERE, json, largest } from './golden-case.js';

beforeAll(() => setThreads(1));

const RUN = 1;
/** f32, relative to the largest value: other rows beside them, so other orders of sums. */
const TOLERANCE = 1e-5;
const PROMPT = 12;

const sequence = (prompt: readonly number[], answer: readonly number[]): TokenSequence => ({
  tokens: Int32Array.from([...prompt, ...answer]),
  labels: Int32Array.from([...prompt.slice(1).fill(-100), ...answer, -100]),
  first: -100,
});

/** Ids within the vocabulary, others for each seed. */
const ids = (count: number, seed: number, vocabulary: number): number[] =>
  Array.from({ length: count }, (_, i) => 3 + ((seed * 31 + i * 17) % (vocabulary - 4)));

function pairsOf(vocabulary: number): [TokenSequence, TokenSequence][] {
  return [1, 2].map((seed) => {
    const prompt = ids(PROMPT, seed, vocabulary);
    const answered = (count: number): TokenSequence =>
      sequence(prompt, [count, ...ids(count, seed + count, vocabulary)]);
    return [answered(5), answered(9)];
  });
}

const LORA = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: 'all-linear', init_lora_weights: false }; // prettier-ignore

/** Hidden states of these rows, and the gradients of a LoRA by which every number of theirs is told apart. */
function measured(model: Model, batch: DecoderBatch, rows: readonly number[]): Float32Array[] {
  const adapter = attachMethod(model, LORA as unknown as PeftConfig, { run: RUN, seed: 3 });
  try {
    return tidy(() => {
      const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]) };
      const { hidden } = model.forward(batch, ctx).decoder;
      const places = tensor(BigInt64Array.from(rows, BigInt), [rows.length]);
      const picked = indexSelect(hidden, 0, places);
      const weights = Float32Array.from({ length: picked.size }, (_, i) => Math.sin(i));
      backward([picked], [tensor(weights, picked.shape)]);
      return [picked.detach(), ...[...adapter.parameters.values()].map(gradientOf)].map(floats);
    });
  } finally {
    adapter.detach();
  }
}

const gradientOf = (parameter: Tensor): Tensor => parameter.grad as Tensor;

it.each(families)('%s', (family) => {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
    dtype: 'f32',
    quantization: null,
  });
  try {
    const pairs = pairsOf(model.vocabSize);
    const sequences = pairs.flat();
    const apart = packBatch([{ run: RUN, examples: sequences }]).batch;
    const { batch, answers } = packPairs(model, [{ run: RUN, pairs }]);
    const rows = apart.decoder.positions.length;
    // of LongRoPE's models, sequences of other lengths are rotated otherwise
    const isLong = Math.max(...sequences.map(({ tokens }) => tokens.length)) > model.alikePositions;
    expect(rows - batch.decoder.positions.length).toBe(isLong ? 0 : 2 * PROMPT);
    const wanted = measured(model, apart, [...Array(rows).keys()]);
    const found = measured(
      model,
      batch,
      answers.flatMap((answer) => [...answer.rows]),
    );
    wanted.forEach((numbers, i) =>
      expect(difference(found[i] as Float32Array, numbers)).toBeLessThanOrEqual(
        TOLERANCE * largest(numbers),
      ),
    );
  } finally {
    model.dispose();
    file.close();
  }
});
