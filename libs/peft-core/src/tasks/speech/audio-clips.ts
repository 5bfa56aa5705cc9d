// Functions for tasks whose examples are audio clips: decoding and masking.
import { DomainError } from '@graft/contracts';
import {
  readSamples,
  readClips,
  type ClipFacts,
  type StoredClip,
} from '../../data/audio/audio-clips.js';
import { draws, type DrawKey } from '../../data/permutation.js';
import type { Processor } from '../../data/processor.js';
import type { Model } from '../../models/model.js';
import type { BatchContext } from '../../nn/context.js';
import { hiddenRows } from '../../nn/front-ends/masking.js';
import type { FeatureSequence } from '../heads/head-outputs.js';
import type { EncodeOptions, Example } from '../task.js';

export interface AudioExample extends Example {
  /** Decoded clip. Null if it was only checked. */
  readonly clip: StoredClip | null;
  /** Number of rows of the clip in the base model. */
  readonly audioRows: number;
  /** Key of the random mask. Null if nothing is masked. */
  readonly key: DrawKey | null;
}

/**
 * Returns each decoded clip, or why it cannot be used.
 * @param most maximum number of decoded values in total: other requests wait while a request's audio is
 * decoded
 * @throws DomainError if there are more
 */
export function clipsOf(
  files: readonly Uint8Array[],
  { audio }: Processor,
  { maxSeqLen, store, origins = [] }: EncodeOptions,
  most = Infinity,
): (ClipFacts | string)[] {
  return readClips(files, audio, store && { store, origins }, most).map((facts) =>
    within(facts, maxSeqLen),
  );
}

/** Returns a clip from samples at the base model's sample rate, or why it cannot be used. */
export const windowOf = (
  samples: Float32Array,
  { audio }: Processor,
  maxSeqLen: number,
): ClipFacts | string => within(readSamples(samples, audio), maxSeqLen);

const within = (facts: ClipFacts | string, maxSeqLen: number): ClipFacts | string =>
  typeof facts === 'string' || facts.rows <= maxSeqLen
    ? facts
    : `the audio has ${facts.seconds.toFixed(1)} s, which take ${facts.rows} positions in this base, more than max_seq_len ${maxSeqLen}, and audio is not truncated; shorten it or remove max_seq_len`;

/** Returns a clip as input of the front end, with random masked rows in training. */
export function sequenceOf(
  { clip, key, audioRows: rows }: AudioExample,
  { masking }: Model,
  { training }: BatchContext,
): FeatureSequence {
  if (!clip) throw new DomainError('internal_error', 'an audio clip was measured but not decoded');
  const feature = clip.features();
  if (!training || !masking || !key) return { feature, rows };
  const hidden = hiddenRows(masking, rows, draws(key));
  return { feature, rows, hidden };
}
