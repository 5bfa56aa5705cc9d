// What tasks share whose examples are sounds: what is heard of each, and what training hides of it.
import { DomainError } from '@graft/contracts';
import { hearSamples, readSounds, type Heard, type HeardSound } from '../../data/audio/sounds.js';
import { draws, type DrawKey } from '../../data/permutation.js';
import type { Processor } from '../../data/processor.js';
import type { Model } from '../../models/model.js';
import type { BatchContext } from '../../nn/context.js';
import { hiddenRows } from '../../nn/front-ends/masking.js';
import type { FeatureSequence } from '../heads/head-outputs.js';
import type { EncodeOptions, Example } from '../task.js';

export interface SoundExample extends Example {
  /** Null: it was looked at, and not read. */
  readonly sound: HeardSound | null;
  /** Rows that the base makes of it. */
  readonly heardRows: number;
  /** What sets its draws apart from those of others; null: nothing of it is drawn. */
  readonly key: DrawKey | null;
}

/**
 * Of each sound, or why it cannot be learnt from.
 * @param most values of all that are decoded: a question's sounds keep others waiting
 * @throws DomainError where they have more
 */
export function heardOf(
  files: readonly Uint8Array[],
  { audio }: Processor,
  { maxSeqLen, store, origins = [] }: EncodeOptions,
  most = Infinity,
): (Heard | string)[] {
  return readSounds(files, audio, store && { store, origins }, most).map((heard) =>
    within(heard, maxSeqLen),
  );
}

/** The same of samples at the base's rate. */
export const windowOf = (
  samples: Float32Array,
  { audio }: Processor,
  maxSeqLen: number,
): Heard | string => within(hearSamples(samples, audio), maxSeqLen);

const within = (heard: Heard | string, maxSeqLen: number): Heard | string =>
  typeof heard === 'string' || heard.rows <= maxSeqLen
    ? heard
    : `the audio has ${heard.seconds.toFixed(1)} s, which take ${heard.rows} positions in this base, more than max_seq_len ${maxSeqLen}, and audio is not truncated; shorten it or remove max_seq_len`;

/** A sound as a front end takes it; where training hides rows of it, without them. */
export function sequenceOf(
  { sound, key, heardRows: rows }: SoundExample,
  { masking }: Model,
  { training }: BatchContext,
): FeatureSequence {
  if (!sound) throw new DomainError('internal_error', 'an audio clip was measured but not decoded');
  const feature = sound.features();
  if (!training || !masking || !key) return { feature, rows };
  const hidden = hiddenRows(masking, rows, draws(key));
  return { feature, rows, hidden };
}
