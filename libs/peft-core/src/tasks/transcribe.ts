// Writes what a decoder makes of a sound: the likeliest token each time, up to the end.
import { argmax, narrow, tidy } from '@graft/kernels';
import { packFeatures } from '../data/pack.js';
import type { PackedRows } from '../batch.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import type { FeatureSequence } from './head-outputs.js';

export interface Heard {
  readonly run: number;
  readonly heard: FeatureSequence;
  /** After the start token. */
  readonly prefix: Int32Array;
  /** Tokens that end a text. */
  readonly ends: readonly number[];
}

/** Ids of the text, without what it began and ends with. */
export function transcribe(
  model: Model,
  { run, heard, prefix, ends }: Heard,
  ctx: BatchContext,
): number[] {
  const cache = model.cache();
  const begin = [model.startToken ?? 0, ...prefix];
  const most = (model.targetPositions ?? 0) - begin.length;
  const handle = cache.open(run, begin.length + Math.max(most, 0));
  const ids: number[] = [];
  try {
    let pending = begin;
    let position = 0;
    while (ids.length < most) {
      const decoder = rowsOf(pending, position, { run, handle });
      const id = tidy(() => {
        const encoder = position === 0 ? source(run, heard, handle) : null;
        const { hidden } = model.forward({ encoder, decoder }, ctx, cache).decoder;
        const last = narrow(hidden, 0, pending.length - 1, 1);
        const rows = [{ run, start: 0, length: 1 }];
        return argmax(model.head('lm', last, { ...ctx, rows })).item();
      });
      position += pending.length;
      if (ends.includes(id)) break;
      ids.push(id);
      pending = [id];
    }
  } finally {
    cache.dispose();
  }
  return ids;
}

function source(run: number, heard: FeatureSequence, handle: number): PackedRows {
  const packed = packFeatures([{ run, ...heard }]);
  return { ...packed, sequences: packed.sequences.map((one) => ({ ...one, cache: handle })) };
}

const rowsOf = (
  tokens: readonly number[],
  from: number,
  { run, handle }: { readonly run: number; readonly handle: number },
): PackedRows => ({
  inputs: Int32Array.from(tokens),
  positions: Int32Array.from(tokens, (_, i) => from + i),
  sequences: [{ run, start: 0, length: tokens.length, cache: handle }],
});
