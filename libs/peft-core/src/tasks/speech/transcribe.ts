// Decodes audio token by token: the encoder runs once, and the decoder uses a KV cache.
import { argmax, narrow, noGrad, tidy, type Tensor } from '@graft/kernels';
import { packFeatures } from '../batches/pack.js';
import { atOnce } from '../../interruptible-work.js';
import type { PackedRows } from '../../nn/batch.js';
import type { Model } from '../../models/model.js';
import type { KvCache } from '../../nn/kv-cache.js';
import { virtualTokens } from '../../nn/sites/virtual-tokens.js';
import type { FeatureSequence } from '../heads/head-outputs.js';

export interface EncodedAudio {
  readonly run: number;
  readonly clip: FeatureSequence;
  /** Tokens after the start token. */
  readonly prefix: Int32Array;
  /** End tokens. */
  readonly ends: readonly number[];
}

/** Returns the maximum number of decoder tokens per clip, including the prefix. */
export const writtenPositions = (model: Model, run: number): number =>
  (model.targetPositions ?? 0) - virtualTokens(model, run);

/** Decoder with a KV cache for one clip. */
export class SpeechDecoder {
  readonly #cache: KvCache;
  readonly #handle: number;
  #isEncoded = false;
  #position = 0;

  /** @param clip returns the clip; called in the first forward pass */
  constructor(
    private readonly model: Model,
    private readonly run: number,
    private readonly clip: () => FeatureSequence,
  ) {
    this.#cache = model.cache();
    this.#handle = this.#cache.open(run, model.targetPositions ?? 0);
  }

  /** Feeds the next tokens. `read` receives logits [1, V] by token index and computes the result. */
  next<T>(tokens: readonly number[], read: (logits: (place: number) => Tensor) => T): T {
    const { model, run } = this;
    const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
    const found = noGrad(() =>
      tidy(() => {
        const encoder = this.#isEncoded ? null : this.#source();
        const { hidden } = model.forward(
          { encoder, decoder: this.#rows(tokens) },
          ctx,
          this.#cache,
        ).decoder;
        const rows = [{ run, start: 0, length: 1 }];
        return read((place) => model.head('lm', narrow(hidden, 0, place, 1), { ...ctx, rows }));
      }),
    );
    this.#isEncoded = true;
    this.#position += tokens.length;
    return found;
  }

  /** Discards the decoder's tokens. The encoder output stays cached. */
  restart(): void {
    this.#cache.rewind(this.#handle, 0);
    this.#position = 0;
  }

  close(): void {
    this.#cache.dispose();
  }

  #source(): PackedRows {
    const packed = packFeatures([{ run: this.run, ...this.clip() }]);
    return {
      ...packed,
      sequences: packed.sequences.map((one) => ({ ...one, cache: this.#handle })),
    };
  }

  #rows(tokens: readonly number[]): PackedRows {
    const { run } = this;
    return {
      inputs: Int32Array.from(tokens),
      positions: Int32Array.from(tokens, (_, i) => this.#position + i),
      sequences: [{ run, start: 0, length: tokens.length, cache: this.#handle }],
    };
  }
}

/** Returns the greedy transcript as token ids, without prefix and end token. */
export const transcribe = (model: Model, clip: EncodedAudio): number[] =>
  atOnce(transcribing(model, clip));

/** Transcribes like `transcribe`, with one forward pass between two yields. */
export function* transcribing(
  model: Model,
  { run, clip, prefix, ends }: EncodedAudio,
): Generator<void, number[], undefined> {
  const decoder = new SpeechDecoder(model, run, () => clip);
  const ids: number[] = [];
  let pending = [model.startToken ?? 0, ...prefix];
  const most = writtenPositions(model, run) - pending.length;
  try {
    while (ids.length < most) {
      const last = pending.length - 1;
      const id = decoder.next(pending, (logits) => argmax(logits(last)).item());
      if (ends.includes(id)) break;
      ids.push(id);
      pending = [id];
      yield;
    }
  } finally {
    decoder.close();
  }
  return ids;
}
