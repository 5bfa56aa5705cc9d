import { expect, it } from 'vitest';
import { Slots } from './slots.js';

const soon = () => new Promise((resolve) => setImmediate(resolve));

it('lets so many in at once and the others in order, but for those who left', async () => {
  const slots = new Slots(2, 3);
  const had: number[] = [];
  const visitors = Array.from({ length: 5 }, () => new AbortController());
  const visits = visitors.map(async ({ signal }, n) => {
    const done = await slots.take(signal);
    had.push(n);
    return done;
  });
  await soon();
  expect(had).toEqual([0, 1]);
  await expect(slots.take(new AbortController().signal)).rejects.toThrow(/too many files/);
  visitors[2]!.abort();
  await expect(visits[2]).rejects.toThrow(/abort/);
  (await visits[1]!)();
  await soon();
  expect(had).toEqual([0, 1, 3]);
  (await visits[0]!)();
  (await visits[3]!)();
  await soon();
  expect(had).toEqual([0, 1, 3, 4]);
  (await visits[4]!)();
  await slots.take(new AbortController().signal);
  await slots.take(new AbortController().signal);
  await expect(slots.take(AbortSignal.abort())).rejects.toThrow(/abort/);
});
