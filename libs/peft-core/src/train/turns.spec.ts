import { expect, it } from 'vitest';
import { Turns } from './turns.js';

/** Takes turns until the given seconds have passed; returns the seconds of each. */
function play(turns: Turns<string>, cost: Record<string, number>, seconds: number) {
  const had: Record<string, number> = {};
  for (let gone = 0; gone < seconds;) {
    const one = turns.next() as string;
    const takes = cost[one] as number;
    turns.charge(one, takes);
    had[one] = (had[one] ?? 0) + takes;
    gone += takes;
  }
  return had;
}

it('gives all members the same time, however long their turns are', () => {
  const turns = new Turns<string>();
  for (const one of ['a', 'b', 'c']) turns.join(one);
  const had = play(turns, { a: 1, b: 7, c: 30 }, 9000);
  for (const seconds of Object.values(had))
    expect(Math.abs(seconds - 3000)).toBeLessThanOrEqual(30);
});

it('alternates if all turns take the same time', () => {
  const turns = new Turns<string>();
  for (const one of ['a', 'b', 'c']) turns.join(one);
  const order = Array.from({ length: 6 }, () => {
    const one = turns.next() as string;
    turns.charge(one, 1);
    return one;
  });
  expect(order.join('')).toBe('abcabc');
});

it('lets a late member neither catch up nor wait', () => {
  const turns = new Turns<string>();
  turns.join('old');
  play(turns, { old: 10 }, 1000);
  turns.join('new');
  const had = play(turns, { old: 10, new: 1 }, 200);
  expect(Math.abs((had['new'] as number) - (had['old'] as number))).toBeLessThanOrEqual(10);
});

it('counts the time that a member used before it joined', () => {
  const turns = new Turns<string>();
  turns.join('old');
  turns.join('new', 50);
  expect(play(turns, { old: 10, new: 1 }, 50)).toEqual({ old: 50 });
});

it('returns no member when all have left', () => {
  const turns = new Turns<string>();
  turns.join('a');
  turns.charge('a', 9);
  turns.leave('a');
  turns.charge('a', 9);
  expect(turns.next()).toBeNull();
  expect(turns.members).toEqual([]);
});
