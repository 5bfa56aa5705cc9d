// Sharing prompts: for every decoder, pairs of answers to one prompt, and sequences of a batch with a common
// prefix, whose rows are computed once, produce the same hidden states and LoRA gradients as separate
// sequences.
import { join } from 'node:path';
import { backward, indexSelect, mapSafetensors, setThreads, tensor, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  causalLm,
  packBatch,
  packPairs,
  packShared,
} from '@graft/peft-core';
import type {
  DecoderBatch,
  Model,
  PackedSequences,
  PeftConfig,
  TokenSequence,
} from '@graft/peft-core';
import { beforeAll, expect, it } from 'vitest';
import { difference, families, floats, HERE, json, largest } from './golden-case.js';

beforeAll(() => setThreads(1));

const RUN = 1;
/** f32 tolerance, relative to the largest value: other rows in a batch change the order of sums. */
const TOLERANCE = 1e-5;
const PROMPT = 12;

const sequence = (prompt: readonly number[], answer: readonly number[]): TokenSequence => ({
  tokens: Int32Array.from([...prompt, ...answer]),
  labels: Int32Array.from([...prompt.slice(1).fill(-100), ...answer, -100]),
  first: -100,
});

/** Token ids within the vocabulary, different for each seed. */
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

const PROMPT_TUNING = { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 3 };
const PREFIX_TUNING = { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 3 };

/**
 * Hidden states of the rows that a batch returns, and adapter gradients of a sum with a different weight for
 * each value.
 */
function measured(
  model: Model,
  packed: (model: Model) => readonly [DecoderBatch, readonly number[]],
  peft: object = LORA,
): Float32Array[] {
  const adapter = attachMethod(model, peft as PeftConfig, { run: RUN, seed: 3 });
  try {
    const [batch, rows] = packed(model);
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

function open(family: string): { model: Model; close: () => void } {
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  const model = buildModel(json(family, 'base', 'config.json'), file.tensors, {
    dtype: 'f32',
    quantization: null,
  });
  const close = (): void => {
    model.dispose();
    file.close();
  };
  return { model, close };
}

/** Position of each row of the sequences in a batch in which they share a prefix. */
function rowsIn({ batch }: PackedSequences, sequences: readonly TokenSequence[]): number[] {
  const [start, ...rest] = batch.decoder.sequences;
  const from = rest.length === sequences.length ? (start?.length ?? 0) : 0;
  const places = from > 0 ? rest : batch.decoder.sequences;
  return sequences.flatMap(({ tokens }, i) =>
    [...tokens.keys()].map((at) => (at < from ? at : (places[i]?.start ?? 0) + at - from)),
  );
}

function expectEqual(found: readonly Float32Array[], wanted: readonly Float32Array[]): void {
  wanted.forEach((numbers, i) =>
    expect(difference(found[i] as Float32Array, numbers)).toBeLessThanOrEqual(
      TOLERANCE * largest(numbers),
    ),
  );
}

it.each(families)('%s', (family) => {
  const { model, close } = open(family);
  try {
    const pairs = pairsOf(model.vocabSize);
    const sequences = pairs.flat();
    const apart = packBatch([{ run: RUN, examples: sequences }]).batch;
    const { batch, answers } = packPairs(model, [{ run: RUN, pairs }]);
    const rows = apart.decoder.positions.length;
    // models with LongRoPE rotate long sequences with other frequencies
    const isLong =
      Math.max(...sequences.map(({ tokens }) => tokens.length)) > model.fixedRopePositions;
    expect(rows - batch.decoder.positions.length).toBe(isLong ? 0 : 2 * PROMPT);
    const wanted = measured(model, () => [apart, [...Array(rows).keys()]]);
    const answered = answers.flatMap((answer) => [...answer.rows]);
    const found = measured(model, () => [batch, answered]);
    expectEqual(found, wanted);

    const examples = pairs[0] as [TokenSequence, TokenSequence];
    const each = packBatch([{ run: RUN, examples }]);
    const all = [...each.labels.keys()];
    // convolution layers have no keys to prepend a prefix to
    const prefixed = model.allLayersAttend ? [PREFIX_TUNING] : [];
    for (const peft of [LORA, PROMPT_TUNING, ...prefixed]) {
      const apartly = measured(model, () => [each.batch, all], peft);
      const together = measured(
        model,
        () => {
          const shared = packShared(model, [{ run: RUN, examples }]);
          const places = rowsIn(shared, examples);
          // the last row of the prompt predicts the first token of the answer, so it is not shared
          expect(each.labels.length - shared.labels.length).toBe(isLong ? 0 : PROMPT - 1);
          expect(places.map((row) => shared.labels[row])).toEqual([...each.labels]);
          return [shared.batch, places];
        },
        peft,
      );
      expectEqual(together, apartly);
    }
  } finally {
    close();
  }
});

it('does not share trained tokens, other tasks, few tokens, single sequences or tokens after trained virtual tokens', () => {
  const { model, close } = open(families[0] as string);
  try {
    const [a, b] = pairsOf(model.vocabSize)[0] as [TokenSequence, TokenSequence];
    const saved = (...examples: TokenSequence[]): number =>
      packBatch([{ run: RUN, examples }]).labels.length -
      packShared(model, [{ run: RUN, examples }]).labels.length;
    const learnt = (from: number, { tokens, labels, first }: TokenSequence): TokenSequence => ({
      tokens,
      labels: labels.map((label, i) => (i < from ? label : (tokens[i + 1] ?? -100))),
      first,
    });
    expect(saved(a, b, a)).toBe(2 * (PROMPT - 1));
    expect(saved(a, learnt(9, b))).toBe(9);
    expect(saved(a, learnt(5, b))).toBe(0);
    expect(saved({ ...a, taskId: 1 }, { ...b, taskId: 1 })).toBe(PROMPT - 1);
    expect(saved({ ...a, taskId: 1 }, { ...b, taskId: 2 })).toBe(0);
    expect(saved(a)).toBe(0);
    const adapter = attachMethod(model, PROMPT_TUNING as unknown as PeftConfig, {
      run: RUN,
      seed: 3,
    });
    expect(saved(a, b)).toBe(PROMPT - 1);
    // a virtual token predicts the first token
    expect(saved({ ...a, first: 3 }, b)).toBe(0);
    const { inputs } = model.modules;
    inputs.attach(RUN, { ...inputs.of(RUN)!, promptTargets: [{ row: 1, label: 3, weight: 1 }] });
    expect(saved(a, b)).toBe(0);
    adapter.detach();
  } finally {
    close();
  }
});

it('counts the target tokens of each example, and shares no rows if per-example losses are needed', () => {
  const { model, close } = open(families[0] as string);
  const adapter = attachMethod(model, LORA as unknown as PeftConfig, { run: RUN, seed: 3 });
  try {
    const examples = (pairsOf(model.vocabSize)[0] as TokenSequence[]).map((sequence) => ({
      ...sequence,
      rows: sequence.tokens.length,
      tokenCount: sequence.tokens.length,
    }));
    const ran: number[] = [];
    const forward = model.forward.bind(model);
    model.forward = ((batch: DecoderBatch, ...more: [never]) => {
      ran.push(batch.decoder.positions.length);
      return forward(batch, ...more);
    }) as typeof model.forward;
    const sums = [false, true].map((rowsApart) => {
      const ctx = { training: true, runs: new Map([[RUN, { seed: 0, step: 0 }]]), rowsApart };
      const shares = [{ run: RUN, examples, options: {} }];
      return tidy(() => causalLm.loss(model, shares, ctx, null)).get(RUN);
    });
    const [together, apart] = sums as [(typeof sums)[number], (typeof sums)[number]];
    expect(ran[1]! - ran[0]!).toBe(PROMPT - 1);
    expect(together?.units).toBe(apart?.units);
    expect(together?.totals['loss']).toBeCloseTo(apart?.totals['loss'] as number, 4);
  } finally {
    adapter.detach();
    close();
  }
});
