import { expect, it } from 'vitest';
import { Slots } from './slots.js';

const soon = () => new Promise((resolve) => setImmediate(resolve));
const BOUNDS = { atOnce: 2, each: 2, waiting: 3, waitingEach: 3, what: 'files are being read' };
const { signal: stays } = new AbortController();

it('limits concurrency and admits waiters in order, except those that left', async () => {
  const slots = new Slots(BOUNDS);
  const had: number[] = [];
  const visitors = Array.from({ length: 5 }, () => new AbortController());
  const visits = visitors.map(async ({ signal }, n) => {
    const done = await slots.take('a', signal);
    had.push(n);
    return done;
  });
  await soon();
  expect(had).toEqual([0, 1]);
  await expect(slots.take('b', stays)).rejects.toThrow('too many files are being read; try');
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
  await slots.take('a', stays);
  await slots.take('a', stays);
  await expect(slots.take('a', AbortSignal.abort())).rejects.toThrow(/abort/);
});

it('alternates between projects, each within its share', async () => {
  const slots = new Slots({ ...BOUNDS, each: 1, waiting: 9, waitingEach: 2 });
  const had: string[] = [];
  const ends: (() => void)[] = [];
  const visit = (project: string) =>
    slots.take(project, stays).then((done) => {
      had.push(project);
      ends.push(done);
    });
  for (const project of ['a', 'a', 'a', 'b', 'b', 'c']) void visit(project);
  await soon();
  expect(had).toEqual(['a', 'b']);
  await expect(visit('a')).rejects.toThrow(
    'too many files are being read for this project: 2 wait; try again when they are done',
  );
  for (let end = ends.shift(); end; end = ends.shift()) {
    end();
    await soon();
  }
  expect(had).toEqual(['a', 'b', 'a', 'b', 'c', 'a']);
});
