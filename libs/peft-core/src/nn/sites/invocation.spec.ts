import { tidy } from '@graft/kernels';
import { expect, it } from 'vitest';
import { packRows } from '../../tasks/batches/pack.js';
import { runRows, type PackedRows } from '../batch.js';
import { activeRows, invokedAt } from './invocation.js';
import type { Invocation } from './invocation.js';
import { Slot } from './slots.js';

it.each<[number[], number[], number | null]>([
  [[7], [7, 1, 7, 2], 2],
  [[7, 7], [7, 7, 7, 2], 1],
  [[1, 2, 3], [1, 2, 1, 2, 3, 1, 2], 2],
  [[7], [1, 2], null],
  [[1, 2, 3], [2, 3], null],
  [[1], [], null],
])('the last %j of %j is at %s', (tokens, sequence, at) => {
  expect(invokedAt({ tokens }, sequence)).toBe(at);
  expect(invokedAt({ tokens }, Int32Array.from(sequence))).toBe(at);
});

const active = (packed: PackedRows, invoked: readonly number[]): [number, number[]][] => {
  const slot = new Slot<Invocation>();
  for (const run of invoked) slot.attach(run, { tokens: [7, 8] });
  return tidy(() =>
    [...activeRows(packed, runRows(packed.sequences), slot, 'f32')].map(([run, rows]) => {
      expect(rows.shape).toEqual([rows.size, 1]);
      return [run, [...(rows.toArray() as Float32Array)]];
    }),
  );
};

it('acts in each sequence of a run from its last invocation tokens on, and not in other runs', () => {
  const packed = packRows(
    [
      { run: 1, tokens: [7, 8] },
      { run: 2, tokens: [7, 8, 1, 7, 8, 2] },
      { run: 2, tokens: [8, 7] },
      { run: 2, tokens: [3, 7, 8] },
      { run: 3, tokens: [1, 1] },
    ].map(({ run, tokens }) => ({ run, tokens: Int32Array.from(tokens) })),
  );
  expect(active(packed, [2, 3])).toEqual([
    [2, [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]],
    [3, [0, 0]],
  ]);
  expect(active(packed, [])).toEqual([]);
});

it.each<[number | null, number[]]>([
  [null, [0, 0, 0]],
  [0, [1, 1, 1]],
  [9, [1, 1, 1]],
  [11, [0, 1, 1]],
  [13, [0, 0, 0]],
])('acts in a continued sequence from position %s on', (at, rows) => {
  const packed = {
    inputs: Int32Array.from([7, 8, 9]),
    positions: Int32Array.from([10, 11, 12]),
    sequences: [{ run: 1, start: 0, length: 3, invokedAt: at }],
  };
  expect(active(packed, [1])).toEqual([[1, rows]]);
});
