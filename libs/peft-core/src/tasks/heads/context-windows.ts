/**
 * Splits a context into windows. Each window has the question and a part of the context that overlaps with
 * the previous part, as with Transformers' `truncation="only_second"` and `stride`.
 */
import type { EncodedInput } from '../../data/text/tokenizer.js';
import type { TypedSequence } from './head-outputs.js';

export interface Window extends TypedSequence {
  /** Start (`from`) and end (`to`) of each token in code points of the context; -1 outside the context. */
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/**
 * Returns the windows of an input. Empty if the question alone is too long.
 * @param overlap number of context tokens that two windows share
 */
export function windowsOf(input: EncodedInput, maxLength: number, overlap: number): Window[] {
  const { texts } = input;
  const [begin, end] = [texts.indexOf(1), texts.lastIndexOf(1) + 1];
  const length = Math.max(0, end - begin);
  const size = maxLength - (texts.length - length);
  if (begin < 0 || size < 1) return [];
  const step = size - Math.min(overlap, size - 1);
  const windows: Window[] = [];
  for (let at = begin; ; at += step) {
    const last = Math.min(end, at + size);
    windows.push(windowOf(input, [begin, end], [at, last]));
    if (last === end) return windows;
  }
}

function windowOf(
  input: EncodedInput,
  [begin, end]: readonly [number, number],
  [at, last]: readonly [number, number],
): Window {
  const joined = (values: Int32Array): Int32Array =>
    Int32Array.from([
      ...values.subarray(0, begin),
      ...values.subarray(at, last),
      ...values.subarray(end),
    ]);
  const texts = joined(input.texts);
  const ofContext = (values: Int32Array): Int32Array =>
    joined(values).map((value, i) => (texts[i] === 1 ? value : -1));
  return {
    tokens: joined(input.ids),
    types: joined(input.types),
    from: ofContext(input.from),
    to: ofContext(input.to),
  };
}

/**
 * Returns the first and the last token of an answer. If the window does not contain the whole answer, both
 * are its first token, which means "no answer".
 */
export function placesOf(
  { from, to }: Window,
  answer: { readonly start: number; readonly end: number } | null,
): readonly [number, number] {
  if (answer === null) return [0, 0];
  const first = from.findIndex((value) => value >= 0);
  const last = from.findLastIndex((value) => value >= 0);
  if (first < 0 || (from[first] as number) > answer.start || (to[last] as number) < answer.end)
    return [0, 0];
  const start = from.findLastIndex((value) => value >= 0 && value <= answer.start);
  const end = to.findIndex((value) => value >= answer.end);
  return [start, end];
}
