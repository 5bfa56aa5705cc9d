import type { DecoderBatch } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import { packRows } from './pack.js';
import { sharedStart } from './shared-start.js';
import type { TokenSequence } from '../../data/text/supervised-text.js';

/** A prompt with one answer and with another. */
export type Pair = readonly [TokenSequence, TokenSequence];

/** A sequence of a pair, as it lies among the rows of its batch. */
export interface PackedAnswer {
  readonly run: number;
  /** Row of each token: those of what both begin with are the other's as well. */
  readonly rows: Int32Array;
  readonly tokens: Int32Array;
  /** The token wanted after each; -100 where unsupervised. */
  readonly labels: Int32Array;
}

export interface PackedPairs {
  readonly batch: DecoderBatch;
  /** Two of each pair, in order. */
  readonly answers: readonly PackedAnswer[];
}

/**
 * Joins the sequences of pairs without padding, run by run in the given order. What both of a pair begin with stands
 * there once, and both go on from it: a row of it sees nothing of what follows, so that it is the same for both.
 */
export function packPairs(
  model: Model,
  parts: readonly { readonly run: number; readonly pairs: readonly Pair[] }[],
): PackedPairs {
  const all: Parameters<typeof packRows>[0][number][] = [];
  const answers: PackedAnswer[] = [];
  let end = 0;
  const put = (sequence: (typeof all)[number]): number => {
    all.push(sequence);
    return (end += sequence.tokens.length) - sequence.tokens.length;
  };
  for (const { run, pairs } of parts) {
    for (const pair of pairs) {
      const from = sharedStart(model, run, pair);
      const first = from > 0 ? put({ run, tokens: pair[0].tokens.subarray(0, from) }) : end;
      for (const [i, { tokens, labels }] of pair.entries()) {
        const rest = { run, tokens: tokens.subarray(from), firstPosition: from };
        const start = put(from > 0 ? { ...rest, after: i + 1 } : rest) - from;
        const rows = tokens.map((_, place) => (place < from ? first : start) + place);
        answers.push({ run, rows, tokens, labels });
      }
    }
  }
  return { batch: { encoder: null, decoder: packRows(all) }, answers };
}
