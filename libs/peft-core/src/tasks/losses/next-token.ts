/** Sums, metrics and the loss of guessing, shared by tasks that predict each next token. */
import { grouped } from '@graft/contracts';
import { mean, type Metric, type Sums, type Task, type Share } from '../task.js';
import { packedLoss } from './token-loss.js';
import { type Model } from '../../models/model.js';
import type { PackedRows } from '../../nn/batch.js';
import type { BatchContext } from '../../nn/context.js';
import { packBatch } from '../batches/pack.js';
import type { TokenSequence } from '../../data/text/supervised-text.js';
import { UNSUPERVISED } from '../../data/text/supervised-text.js';

/** Returns sums by run over supervised tokens. Parameters as in `packedLoss`. */
export function tokenSums(...of: Parameters<typeof packedLoss>): Map<number, Sums> {
  return new Map(
    [...packedLoss(...of)].map(([run, { loss, correct, count }]) => [
      run,
      { units: count, totals: { loss, correct } },
    ]),
  );
}

/**
 * Returns sums by run for the targets of an encoder-decoder model. The decoder starts with the start
 * token.
 */
export function targetSums(
  model: Model,
  encoder: PackedRows,
  shares: readonly Share<{ readonly target: Int32Array }, unknown>[],
  ctx: BatchContext,
  scales: ReadonlyMap<number, number> | null,
): Map<number, Sums> {
  const packed = packBatch(
    shares.map(({ run, examples }) => ({
      run,
      examples: examples.map(({ target }) => decoderInput(target, model.startToken ?? 0)),
    })),
  );
  const { decoder } = model.forward({ encoder, decoder: packed.batch.decoder }, ctx);
  return tokenSums(model, decoder, packed, ctx, scales);
}

/** Returns the decoder input: the target shifted to the right by one. */
const decoderInput = (target: Int32Array, start: number): TokenSequence => ({
  tokens: Int32Array.from(target, (_, i) => (i === 0 ? start : (target[i - 1] as number))),
  labels: target,
  first: UNSUPERVISED,
});

export const tokenChance: Task['chance'] = ({ vocabSize }) => ({
  loss: Math.log(vocabSize),
  of: `among ${grouped(vocabSize)} tokens`,
  isStart: false,
});

export const TOKEN_METRICS: readonly Metric[] = [
  {
    name: 'loss',
    title: 'Loss',
    unit: null,
    draw: { smooth: true, log: true },
    of: mean('loss'),
  },
  {
    name: 'accuracy',
    title: 'Token accuracy',
    openai_name: 'mean_token_accuracy',
    unit: '%',
    draw: { smooth: true, log: false },
    of: mean('correct'),
  },
  {
    name: 'supervised_tokens',
    title: 'Supervised tokens',
    unit: 'tokens',
    draw: null,
    of: ({ units }) => units,
  },
];
