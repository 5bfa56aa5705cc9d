import { expect, it } from 'vitest';
import { microBatches } from './micro-batches.js';

const example = (length: number) => ({ tokens: { length } });
const share = (run: number, ...lengths: number[]) => ({ run, examples: lengths.map(example) });
const shape = (micros: ReturnType<typeof microBatches<ReturnType<typeof example>>>) =>
  micros.map((micro) =>
    micro.map(({ run, examples }) => [run, ...examples.map(({ tokens }) => tokens.length)]),
  );

it('keeps order, stays within the budget and makes even pieces', () => {
  expect(
    shape(microBatches([share(1, 30, 30, 30, 30, 30)], { budget: 100, joinBelow: 1000 })),
  ).toEqual([[[1, 30, 30, 30]], [[1, 30, 30]]]);
  expect(shape(microBatches([share(1, 40, 40, 40, 10)], { budget: 120, joinBelow: 1000 }))).toEqual(
    [[[1, 40, 40]], [[1, 40, 10]]],
  );
});

it('lets an example that is longer than the budget go alone', () => {
  expect(
    shape(microBatches([share(1, 10, 500, 10)], { budget: 100, joinBelow: 1000 })).flat(),
  ).toEqual([
    [1, 10],
    [1, 500],
    [1, 10],
  ]);
});

it('joins runs where they fit, each at most once', () => {
  const joined = shape(
    microBatches([share(1, 40, 40), share(2, 50), share(3, 60, 70)], {
      budget: 120,
      joinBelow: 1000,
    }),
  );
  expect(joined).toEqual([
    [[1, 40, 40]],
    [
      [2, 50],
      [3, 60],
    ],
    [[3, 70]],
  ]);
});

it('cuts a run the same way whoever shares the pack', () => {
  const alone = microBatches([share(3, 60, 60, 20)], { budget: 120, joinBelow: 1000 }).map(
    (micro) => micro[0]?.examples.length,
  );
  const shared = microBatches([share(1, 100), share(3, 60, 60, 20)], {
    budget: 120,
    joinBelow: 1000,
  })
    .flat()
    .filter(({ run }) => run === 3)
    .map(({ examples }) => examples.length);
  expect(shared).toEqual(alone);
});

it('leaves longer stretches alone', () => {
  const joined = shape(
    microBatches([share(1, 40), share(2, 10), share(3, 20), share(4, 50)], {
      budget: 120,
      joinBelow: 30,
    }),
  );
  expect(joined).toEqual([
    [[1, 40]],
    [
      [2, 10],
      [3, 20],
    ],
    [[4, 50]],
  ]);
});

it('has nothing to do for runs without examples', () => {
  expect(microBatches([share(1)], { budget: 100, joinBelow: 1000 })).toEqual([]);
});
