/**
 * Times that Whisper writes among its text, by the rules of transformers' WhisperTimeStampLogitsProcessor:
 *   a text begins and ends with a time; two times in a row end one part and begin the next; none lies before another;
 *   the first lies within a second; where all times together are likelier than any text, it is a time.
 */
import type { Tokenizer } from '../../data/text/tokenizer.js';
import { tokenId } from './speech-tokens.js';

/** Seconds between two tokens. */
const STEP = 0.02;
/** Steps within which a text begins. */
const FIRST = 50;

export interface Times {
  /** Id of second 0; all ids from there on are times. */
  readonly first: number;
  /** Says that there are to be none. */
  readonly none: number;
  /** Ends a text. */
  readonly ends: readonly number[];
}

/** Null where the tokenizer has none. */
export function timesOf(tokenizer: Tokenizer): Times | null {
  const [first, none] = ['0.00', 'notimestamps'].map((name) => tokenId(tokenizer, name));
  return first == null || none == null ? null : { first, none, ends: tokenizer.eosIds };
}

/** Takes from scores what may not come after `ids`. */
export function holdToTimes(scores: Float32Array, ids: readonly number[], times: Times): void {
  const { first, none, ends } = times;
  scores[none] = -Infinity;
  const isTime = (at: number): boolean => (ids.at(at) ?? -1) >= first;
  const wasTime = isTime(-1);
  // of one text that begins with a time there is nothing before it
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

/** A part, by its times in seconds and its ids, times among them. */
export interface TimedIds {
  readonly start: number;
  readonly end: number;
  readonly ids: readonly number[];
}

/** The parts of what was written of a window, and the second from which the next goes on, as transformers has them. */
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
    // the last one keeps the time at which another would have begun
    const isCut = end === cut && !endsWithOne;
    const part = ids.slice(i === 0 ? 0 : ends[i - 1], isCut ? end + 1 : end);
    return { start: at(part[0]), end: at(ids[end - 1]), ids: part };
  });
  return { parts, until };
}
