import { expect, it } from 'vitest';
import { GIVE_UP_MS, pauseMs } from './retries.js';

it('pauses grow to at most 7.5 h, with 18 attempts in three days', () => {
  expect([1, 2, 3, 4].map((tries) => pauseMs(tries, 0.5))).toEqual([5e3, 20e3, 80e3, 320e3]);
  expect([0, 1].map((random) => pauseMs(1, random))).toEqual([3750, 6250]);
  for (const tries of [8, 50, 1000]) expect(pauseMs(tries, 1)).toBe(27_000_000);
  let tries = 1;
  for (let after = 0; after + pauseMs(tries, 0.5) <= GIVE_UP_MS; tries++)
    after += pauseMs(tries, 0.5);
  expect(tries).toBe(18);
});
