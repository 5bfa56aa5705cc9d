import type { DecoderBatch } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import { packRows } from './pack.js';
import { sharedStart } from './shared-start.js';
import type { TokenSequence } from '../../data/text/supervised-text.js';

/** Prompt with the preferred and with the rejected answer. */
export type Pair = readonly [TokenSequence, TokenSequence];

/** Sequence of a pair and its rows in the batch. */
export interface PackedAnswer {
  readonly run: number;
  /** Row of each token. The rows of a common prefix belong to both sequences of the pair. */
  readonly rows: Int32Array;
  readonly tokens: Int32Array;
  /** Target of each token's row: the next token; -100 if unsupervised. */
  readonly labels: Int32Array;
}

export interface PackedPairs {
  readonly batch: DecoderBatch;
  /** Two sequences per pair, in order. */
  readonly answers: readonly PackedAnswer[];
}

/**
 * Concatenates the sequences of pairs without padding, run by run in the given order. The common prefix of
 * a pair is stored once and both sequences continue it: its rows do not attend to later rows, so they are
 * the same for both.
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
