/**
 * A question with its context, in as many windows as the context needs: each has the question and a stretch of the context
 * that begins before the one before has ended, as transformers' `truncation="only_second"` with `stride` makes them.
 */
import type { EncodedInput } from '../../data/text/tokenizer.js';
import type { TypedSequence } from './head-outputs.js';

export interface Window extends TypedSequence {
  /** By token, the code points of the context that it stands for; -1 where it is not of it. */
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/** None where the question leaves no room. @param overlap tokens of the context that two windows share */
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
 * The first and the last token of an answer; the window's first token, which stands for none, where it does not lie in it
 * whole.
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
