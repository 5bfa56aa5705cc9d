import { zeros } from '@graft/kernels';
import { expect, it } from 'vitest';
import type { PackedBatch, Sequence } from '../batch.js';
import { Layout } from './layout.js';
import { EmbeddingSite, Sites } from './site.js';

const sites = (): Sites =>
  new Sites({
    linears: [],
    norms: [],
    embeddings: [new EmbeddingSite('words', zeros([1, 1]))],
    tied: [],
  });

function batch(sequences: readonly Sequence[]): PackedBatch {
  const positions = sequences.flatMap(({ length }) => Array.from({ length }, (_, i) => i));
  return {
    tokens: new Int32Array(positions.length),
    positions: Int32Array.from(positions),
    labels: new Int32Array(positions.length).fill(-100),
    sequences,
  };
}

it('puts the virtual tokens of a run once before its sequences', () => {
  const all = sites();
  all.inputs.attach(7, { length: 2, embeddings: () => zeros([2, 1]) });
  all.prefix.attach(8, { length: 4, open: () => () => ({ k: zeros([1]), v: zeros([1]) }) });
  const layout = new Layout(
    batch([
      { run: 6, start: 0, length: 1 },
      { run: 7, start: 1, length: 3 },
      { run: 7, start: 4, length: 1 },
      { run: 8, start: 5, length: 2 },
    ]),
    all,
    undefined,
  );
  expect(
    layout.pieces.map(({ run, rows, virtual, shared, prefix }) => [
      run,
      rows,
      virtual,
      shared,
      prefix,
    ]),
  ).toEqual([
    [6, 1, false, -1, 0],
    [7, 2, true, -1, 0],
    [7, 3, false, 1, 0],
    [7, 1, false, 1, 0],
    [8, 2, false, -1, 4],
  ]);
  expect([...layout.positions]).toEqual([0, 0, 1, 2, 3, 4, 2, 4, 5]);
  expect(layout.rows).toEqual([
    { run: 6, start: 0, length: 1 },
    { run: 7, start: 1, length: 6 },
    { run: 8, start: 7, length: 2 },
  ]);
});

it('masks what comes later and what has left the window', () => {
  const layout = new Layout(batch([{ run: 1, start: 0, length: 1 }]), sites(), undefined);
  expect([...layout.mask(2, 2, null).toArray()]).toEqual([1, 1, 1, 0, 1, 1, 1, 1]);
  expect([...layout.mask(2, 2, 2).toArray()]).toEqual([0, 1, 1, 0, 0, 0, 1, 1]);
  layout.dispose();
});

it.each<[string, readonly Sequence[], RegExp]>([
  ['gaps', [{ run: 1, start: 1, length: 1 }], /starts at row 1/],
  ['empty sequences', [{ run: 1, start: 0, length: 0 }], /is empty/],
  [
    'runs that are torn apart',
    [0, 1, 0].map((run, start) => ({ run, start, length: 1 })),
    /rows of run 0 are not together/,
  ],
  ['nothing', [], /it is empty/],
])('refuses %s', (_, sequences, message) => {
  expect(() => new Layout(batch(sequences), sites(), undefined)).toThrow(message);
});
