// Word and character error rates of evaluations. Transcript and reference are normalized as Whisper does.
import { characterErrors, wordErrors } from './error-rate.js';
import type { Metric, Sums } from '../task.js';

/** Normalizes a text for comparison. */
export type Normalize = (text: string) => string;

export function transcriptErrors(
  said: string,
  wanted: string,
  normalize: Normalize,
): Sums['totals'] {
  const [ours, theirs] = [normalize(said), normalize(wanted)];
  const [words, characters] = [wordErrors(ours, theirs), characterErrors(ours, theirs)];
  return {
    word_errors: words.errors,
    words: words.length,
    character_errors: characters.errors,
    characters: characters.length,
  };
}

/** @returns null if nothing was transcribed */
const rate =
  (errors: string, length: string): Metric['of'] =>
  ({ totals }) =>
    totals[errors] === undefined ? null : totals[errors] / Math.max(1, totals[length] ?? 0);

/** Metrics of evaluations only. Lower is better. Above 1, there are more errors than words. */
export const TRANSCRIPT_METRICS: readonly Metric[] = [
  {
    name: 'wer',
    title: 'Word error rate',
    unit: '%',
    less_is_better: true,
    draw: { smooth: false, log: false },
    of: rate('word_errors', 'words'),
  },
  {
    name: 'cer',
    title: 'Character error rate',
    unit: '%',
    less_is_better: true,
    draw: { smooth: false, log: false },
    of: rate('character_errors', 'characters'),
  },
];
