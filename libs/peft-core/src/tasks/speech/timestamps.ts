/**
 * Whisper's timestamp tokens, with the rules of Transformers' WhisperTimeStampLogitsProcessor:
 * - Text starts and ends with a timestamp.
 * - Two timestamps in a row end one segment and start the next.
 * - No timestamp is before an earlier one.
 * - The first timestamp is within one second.
 * - If all timestamps together are more probable than any text token, the next token is a timestamp.
 */
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { tokenId } from './speech-tokens.js';

/** Seconds between two timestamp tokens. */
const STEP = 0.02;
/** Maximum number of steps before the first timestamp. */
const FIRST = 50;

export interface Times {
  /** Id of the timestamp 0.00. All ids from there on are timestamps. */
  readonly first: number;
  /** Id of the token for "no timestamps". */
  readonly none: number;
  /** Ids of the end tokens. */
  readonly ends: readonly number[];
}

/** Returns the timestamp tokens. Null if the tokenizer has none. */
export function timesOf(tokenizer: Tokenizer): Times | null {
  const [first, none] = ['0.00', 'notimestamps'].map((name) => tokenId(tokenizer, name));
  return first == null || none == null ? null : { first, none, ends: tokenizer.eosIds };
}

/** Masks the scores of tokens that must not follow `ids`. */
export function suppressInvalidTimes(
  scores: Float32Array,
  ids: readonly number[],
  times: Times,
): void {
  const { first, none, ends } = times;
  scores[none] = -Infinity;
  const isTime = (at: number): boolean => (ids.at(at) ?? -1) >= first;
  const wasTime = isTime(-1);
  // A timestamp at the start counts as the second of a pair: text must follow.
  const before = ids.length < 2 || isTime(-2);
  if (wasTime && before) scores.fill(-Infinity, first);
  else if (wasTime) withoutText(scores, first, ends);
  const last = ids.findLast((id) => id >= first);
  if (last !== undefined) scores.fill(-Infinity, first, wasTime && !before ? last : last + 1);
  if (ids.length === 0) {
    scores.fill(-Infinity, 0, first);
    scores.fill(-Infinity, first + FIRST + 1);
  }
  const most = scores.subarray(0, first).reduce((a, b) => Math.max(a, b), -Infinity);
  if (logSumExp(scores.subarray(first)) > most) scores.fill(-Infinity, 0, first);
}

function withoutText(scores: Float32Array, first: number, ends: readonly number[]): void {
  const kept = ends.map((id) => scores[id] as number);
  scores.fill(-Infinity, 0, first);
  for (const [i, id] of ends.entries()) scores[id] = kept[i] as number;
}

/** ln Σ exp x */
export function logSumExp(values: Float32Array): number {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (most === -Infinity) return -Infinity;
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** Segment with its times in seconds and its ids, including timestamps. */
export interface TimedIds {
  readonly start: number;
  readonly end: number;
  readonly ids: readonly number[];
}

/** Splits a window into segments. `until`: second at which the next window starts, as in Transformers. */
export function partsOf(
  ids: readonly number[],
  first: number,
  seconds: number,
): { parts: TimedIds[]; until: number } {
  const isTime = ids.map((id) => id >= first);
  const at = (id: number | undefined): number => ((id ?? first) - first) * STEP;
  const cuts = ids.flatMap((_, i) => (i > 0 && isTime[i] && isTime[i - 1] ? [i] : []));
  const endsWithOne = isTime.at(-1) === true && isTime.at(-2) !== true && ids.length > 1;
  if (cuts.length === 0) {
    const last = ids.findLast((id) => id >= first);
    const end = last !== undefined && last !== first ? Math.min(at(last), seconds) : seconds;
    return { parts: ids.length === 0 ? [] : [{ start: 0, end, ids }], until: seconds };
  }
  const cut = cuts.at(-1) as number;
  const until = endsWithOne ? seconds : Math.min(at(ids[cut - 1]), seconds);
  const ends = endsWithOne ? [...cuts, ids.length] : cuts;
  const parts = ends.map((end, i): TimedIds => {
    // The last segment keeps the timestamp at which the next one would have started.
    const isCut = end === cut && !endsWithOne;
    const part = ids.slice(i === 0 ? 0 : ends[i - 1], isCut ? end + 1 : end);
    return { start: at(part[0]), end: at(ids[end - 1]), ids: part };
  });
  return { parts, until };
}
