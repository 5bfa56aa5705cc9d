/**
 * log π of whole sequences, for losses based on it: log π(y|x) = Σ log π(y_i | x, y_<i) over the
 * supervised tokens of y.
 */
import { noGrad, tidy } from '@graft/kernels';
import { BARE_BASE } from '../../nn/batch.js';
import type { DecoderBatch } from '../../nn/batch.js';
import { packBatch, type PackedSequences } from '../batches/pack.js';
import { packPairs, type PackedAnswer, type Pair } from '../batches/pack-pairs.js';
import type { TokenSequence } from '../../data/text/supervised-text.js';
import type { Model } from '../../models/model.js';
import type { BatchContext } from '../../nn/context.js';
import { openLosses, targetLosses, type Targets } from './token-loss.js';

type Hidden = Parameters<typeof targetLosses>[1];

/** Returns the supervised rows of each sequence. */
export function targetsBySequence({ batch, labels }: PackedSequences): Targets[] {
  return batch.decoder.sequences.map(({ run, start, length }) => {
    const rows = Array.from({ length }, (_, i) => start + i).filter(
      (row) => (labels[row] as number) >= 0,
    );
    return { rows, labels: rows.map((row) => labels[row] as number), runs: rows.map(() => run) };
  });
}

/** Returns the supervised rows of a sequence whose rows are not contiguous. */
export const targetsOfAnswer = ({ run, rows, labels }: PackedAnswer): Targets => {
  const places = Array.from(rows.keys()).filter((place) => (labels[place] as number) >= 0);
  return {
    rows: places.map((place) => rows[place] as number),
    labels: places.map((place) => labels[place] as number),
    runs: places.map(() => run),
  };
};

/** Losses by target whose weights depend on the losses. */
export interface Scored {
  /** -log π of every target, by sequence. */
  readonly losses: Float32Array[];
  /**
   * Runs the backward pass, given dloss/d(-log π) of every target by sequence. Valid until the `tidy` scope
   * ends.
   */
  readonly learn: (weights: readonly Float32Array[]) => void;
}

/** @param learns whether a backward pass follows */
export function score(
  model: Model,
  hidden: Hidden,
  targets: readonly Targets[],
  ctx: BatchContext,
  learns: boolean,
): Scored {
  const all = joined(targets);
  const { losses, learn } = learns
    ? openLosses(model, hidden, all, ctx)
    : { ...noGrad(() => targetLosses(model, hidden, all, ctx, null)), learn: () => undefined };
  return {
    losses: bySequence(losses, targets),
    learn: (weights) => learn(Float32Array.from(weights.flatMap((some) => [...some]))),
  };
}

/**
 * Returns -log π₀ of every target by sequence, from the base model without an adapter. A separate forward
 * pass without gradients: in one pass with the run's rows, the backward pass would also process these
 * rows, whose gradients are 0.
 */
export function referenceLosses(
  model: Model,
  sequences: readonly TokenSequence[],
  ctx: BatchContext,
): Float32Array[] {
  const packed = packBatch([{ run: BARE_BASE, examples: sequences }]);
  return withoutGradients(model, packed.batch, targetsBySequence(packed), ctx);
}

/** Returns -log π₀ for both sequences of each pair. */
export function pairReferenceLosses(
  model: Model,
  pairs: readonly Pair[],
  ctx: BatchContext,
): Float32Array[] {
  const { batch, answers } = packPairs(model, [{ run: BARE_BASE, pairs }]);
  return withoutGradients(model, batch, answers.map(targetsOfAnswer), ctx);
}

const withoutGradients = (
  model: Model,
  batch: DecoderBatch,
  targets: readonly Targets[],
  ctx: BatchContext,
): Float32Array[] =>
  noGrad(() =>
    tidy(() => {
      const { hidden } = model.forward(batch, ctx).decoder;
      return score(model, hidden, targets, ctx, false).losses;
    }),
  );

function bySequence(losses: Float32Array, targets: readonly Targets[]): Float32Array[] {
  let at = 0;
  return targets.map(({ rows }) => losses.subarray(at, (at += rows.length)));
}

export const sum = (numbers: Float32Array): number =>
  numbers.reduce((total, value) => total + value, 0);

const joined = (targets: readonly Targets[]): Targets => ({
  rows: targets.flatMap(({ rows }) => rows),
  labels: targets.flatMap(({ labels }) => labels),
  runs: targets.flatMap(({ runs }) => runs),
});
