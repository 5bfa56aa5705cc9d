import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { porterStem } from './porter-stem.js';
import { longestCommon, METRICS, MOST_CHARACTERS, similarity, type Metric } from './similarity.js';

// test/similarity/make.py computes the expected values with the original implementations and lists their versions.
const golden = JSON.parse(
  readFileSync(new URL('../../test/similarity/golden.json', import.meta.url), 'utf8'),
) as {
  readonly pairs: readonly {
    readonly text: string;
    readonly reference: string;
    readonly scores: Readonly<Record<Metric, number>>;
  }[];
  readonly stems: Readonly<Record<string, string>>;
};

describe.each(METRICS)('%s', (metric) => {
  it.each(golden.pairs)(
    'matches the original implementation for "$text"',
    ({ text, reference, scores }) => {
      expect(similarity(metric, text, reference)).toBeCloseTo(scores[metric], 12);
    },
  );
});

it('stems words as NLTK does', () => {
  const words = Object.keys(golden.stems);
  expect(Object.fromEntries(words.map((word) => [word, porterStem(word)]))).toEqual(golden.stems);
});

it('finds the same longest common subsequence as the table-based algorithm', () => {
  const table = (a: readonly string[], b: readonly string[]): number => {
    let row = Array<number>(a.length + 1).fill(0);
    for (const token of b) {
      const next = [0];
      for (let i = 0; i < a.length; i++)
        next.push(a[i] === token ? row[i]! + 1 : Math.max(row[i + 1]!, next[i]!));
      row = next;
    }
    return row.at(-1)!;
  };
  let state = 7;
  const random = (n: number): number => (state = (state * 16_807) % 2_147_483_647) % n;
  for (let n = 0; n < 200; n++) {
    const draw = (): string[] => Array.from({ length: random(90) }, () => 'abcd'[random(4)]!);
    const [a, b] = [draw(), draw()];
    expect(longestCommon(a, b)).toBe(table(a, b));
  }
});

it.each<[Metric, string, string]>([
  ['fuzzy_match', distinct(MOST_CHARACTERS), distinct(MOST_CHARACTERS)],
  ['fuzzy_match', distinct(MOST_CHARACTERS / 10).repeat(10), distinct(MOST_CHARACTERS)],
  ['meteor', 'a '.repeat(MOST_CHARACTERS / 2), 'a '.repeat(MOST_CHARACTERS / 2)],
  ['meteor', 'a '.repeat(MOST_CHARACTERS / 2), 'b '.repeat(MOST_CHARACTERS / 2)],
  ['rouge_l', 'a '.repeat(MOST_CHARACTERS / 2), 'a '.repeat(MOST_CHARACTERS / 2)],
])('computes %s of the longest texts quickly', (metric, text, reference) => {
  const { user } = process.cpuUsage();
  similarity(metric, text, reference);
  expect(process.cpuUsage().user - user).toBeLessThan(4_000_000);
});

function distinct(length: number): string {
  return Array.from({ length }, (_, i) => String.fromCharCode(0x3400 + (i % 27_000))).join('');
}
