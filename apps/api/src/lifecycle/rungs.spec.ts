import { expect, it } from 'vitest';
import { continues, rankAmong } from './rungs.js';

const loss = (score: number) => ({ metric: 'valid_loss', step: 1, score }) as const;
const grade = (score: number) => ({ metric: 'eval_score', step: 1, score }) as const;
const there = (...scores: (number | null)[]) => scores.map((score) => ({ score }));

it('ranks losses in ascending and scores in descending order', () => {
  expect(rankAmong(loss(2), there())).toBe(1);
  expect(rankAmong(loss(2), there(3, 1, 2))).toBe(2);
  expect(rankAmong(grade(2), there(3, 1, 2))).toBe(2);
  expect(rankAmong(grade(0), there(0.5, 1))).toBe(3);
});

it('ranks values that are not finite last', () => {
  expect(rankAmong(loss(NaN), there(3, null))).toBe(2);
  expect(rankAmong(grade(0), there(null, null))).toBe(1);
  expect(rankAmong(loss(Infinity), there(1e9))).toBe(2);
});

it('keeps the best 1/eta of the trials, and always the best one', () => {
  const going = (there: number, eta: number): number[] =>
    Array.from({ length: there }, (_, n) => n + 1).filter((place) =>
      continues({ score: 1 }, place, there, eta),
    );
  expect([1, 2, 3, 5, 6, 9].map((n) => going(n, 3))).toEqual([[1], [1], [1], [1], [1, 2], [1, 2, 3]]); // prettier-ignore
  expect(going(4, 2)).toEqual([1, 2]);
  expect(continues({ score: NaN }, 1, 1, 3)).toBe(false);
});
