// Compares allowed tokens and segments with Transformers 5.24 (test/golden/whisper_times.py).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { suppressInvalidTimes, partsOf } from './timestamps.js';

interface Golden {
  readonly end: number;
  readonly none: number;
  readonly first: number;
  readonly left: readonly { ids: number[]; scores: number[]; left: number[] }[];
  readonly parts: readonly { ids: number[]; parts: readonly object[]; until: number }[];
}
const path = join(import.meta.dirname, '../../../../../test/golden/whisper-times.json');
const { end, none, first, left, parts } = JSON.parse(readFileSync(path, 'utf8')) as Golden;

it.each(left)(
  'allows the same tokens after $ids as Transformers',
  ({ ids, scores, left: kept }) => {
    const own = Float32Array.from(scores);
    suppressInvalidTimes(own, ids, { first, none, ends: [end] });
    expect([...own.keys()].filter((id) => own[id] !== -Infinity)).toEqual(kept);
  },
);

it.each(parts)(
  'splits $ids into the same segments as Transformers',
  ({ ids, parts: wanted, until }) => {
    const found = partsOf(ids, first, 3);
    const rounded = (value: number): number => Math.round(100 * value) / 100;
    expect(
      found.parts.map((one) => ({ ...one, start: rounded(one.start), end: rounded(one.end) })),
    ).toEqual(wanted);
    expect(rounded(found.until)).toBe(until);
  },
);

it('returns no time after the end of the audio', () => {
  // Base models generate timestamps up to 30 s, even if the audio is shorter.
  expect(partsOf([first, 1, first + 90], first, 0.5)).toEqual({
    parts: [{ start: 0, end: 0.5, ids: [first, 1, first + 90] }],
    until: 0.5,
  });
});
