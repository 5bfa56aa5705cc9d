import { zeros } from '@graft/kernels';
import { expect, it } from 'vitest';
import type { PackedRows, Sequence } from './batch.js';
import { PackedLayout } from './layout.js';
import type { VirtualSlots } from './layout.js';
import { Slot } from './sites/slots.js';

const slots = (): VirtualSlots => ({ inputs: new Slot(), prefix: new Slot() });
const nothing = { k: zeros([1]), v: zeros([1]) };

function batch(sequences: readonly Sequence[]): PackedRows {
  const positions = sequences.flatMap(({ length }) => Array.from({ length }, (_, i) => i));
  return {
    inputs: new Int32Array(positions.length),
    positions: Int32Array.from(positions),
    sequences,
  };
}

it('puts the virtual tokens of a run once before its sequences', () => {
  const all = slots();
  all.inputs.attach(7, { length: 2, embeddings: () => zeros([2, 1]) });
  all.prefix.attach(8, { length: 4, open: () => () => nothing });
  const layout = new PackedLayout(
    batch([
      { run: 6, start: 0, length: 1 },
      { run: 7, start: 1, length: 3 },
      { run: 7, start: 4, length: 1 },
      { run: 8, start: 5, length: 2 },
    ]),
    all,
    'causal',
  );
  expect(
    layout.segments.map(({ run, rows, virtual, shared, prefix }) => [
      run,
      rows,
      virtual,
      shared,
      prefix,
    ]),
  ).toEqual([
    [6, 1, 0, -1, 0],
    [7, 2, 2, -1, 0],
    [7, 3, 0, 1, 0],
    [7, 1, 0, 1, 0],
    [8, 2, 0, -1, 4],
  ]);
  expect([...layout.positions]).toEqual([0, 0, 1, 2, 3, 4, 2, 4, 5]);
  expect(layout.rows).toEqual([
    { run: 6, start: 0, length: 1 },
    { run: 7, start: 1, length: 6 },
    { run: 8, start: 7, length: 2 },
  ]);
});

it('gives virtual tokens the first token type', () => {
  const all = slots();
  all.inputs.attach(7, { length: 2, embeddings: () => zeros([2, 1]) });
  const given = batch([
    { run: 6, start: 0, length: 2 },
    { run: 7, start: 2, length: 2 },
    { run: 7, start: 4, length: 1 },
  ]);
  const types = Int32Array.of(0, 1, 1, 1, 1);
  const layout = new PackedLayout({ ...given, types }, all, 'bidirectional');
  expect([...layout.types]).toEqual([0, 1, 0, 0, 1, 1, 0, 0, 1]);
  expect([...new PackedLayout(given, all, 'bidirectional').types]).toEqual(Array(9).fill(0));
});

it('gives each sequence its own virtual tokens in bidirectional stacks', () => {
  const all = slots();
  all.inputs.attach(7, { length: 2, embeddings: () => zeros([2, 1]) });
  const layout = new PackedLayout(
    batch([
      { run: 6, start: 0, length: 1 },
      { run: 7, start: 1, length: 3 },
      { run: 7, start: 4, length: 1 },
    ]),
    all,
    'bidirectional',
  );
  expect(layout.segments.map(({ rows, virtual, shared }) => [rows, virtual, shared])).toEqual([
    [1, 0, -1],
    [5, 2, -1],
    [3, 2, -1],
  ]);
  expect([...layout.positions]).toEqual([0, 0, 1, 2, 3, 4, 0, 1, 2]);
  expect(layout.rows[1]).toEqual({ run: 7, start: 1, length: 8 });
  expect(layout.spans).toEqual([
    { run: 6, taskIds: [], virtual: 0, real: 1 },
    { run: 7, taskIds: [0], virtual: 2, real: 3 },
    { run: 7, taskIds: [0], virtual: 2, real: 1 },
  ]);
});

it('inserts a prompt for each task of a batch, and puts sequences after their own', () => {
  const all = slots();
  all.inputs.attach(6, { length: 2, embeddings: () => zeros([2, 1]) });
  all.inputs.attach(7, { length: 2, tasks: 9, embeddings: () => zeros([2, 1]) });
  const given = batch([
    // a run with one prompt for all tasks
    { run: 6, taskId: 3, start: 0, length: 1 },
    { run: 7, taskId: 5, start: 1, length: 2 },
    { run: 7, start: 3, length: 1 },
    { run: 7, taskId: 5, start: 4, length: 1 },
  ]);
  const layout = new PackedLayout(given, all, 'causal');
  expect(
    layout.segments.map(({ run, rows, virtual, shared }) => [run, rows, virtual, shared]),
  ).toEqual([
    [6, 2, 2, -1],
    [6, 1, 0, 0],
    [7, 2, 2, -1],
    [7, 2, 2, -1],
    [7, 2, 0, 2],
    [7, 1, 0, 3],
    [7, 1, 0, 2],
  ]);
  expect([...layout.positions]).toEqual([0, 1, 2, 0, 1, 0, 1, 2, 3, 2, 2]);
  expect(layout.spans.map(({ taskIds }) => taskIds)).toEqual([[0], [5, 0]]);
  const own = new PackedLayout(given, all, 'bidirectional');
  expect(own.spans.map(({ taskIds }) => taskIds)).toEqual([[0], [5], [0], [5]]);
});

it('lets several sequences of a run continue one', () => {
  const sequences = [
    { run: 0, start: 0, length: 1 },
    { run: 1, start: 1, length: 3 },
    { run: 1, start: 4, length: 2, after: 1 },
    { run: 1, start: 6, length: 1, after: 2 },
  ];
  const { segments } = new PackedLayout(batch(sequences), slots(), 'causal');
  expect(segments.map(({ shared }) => shared)).toEqual([-1, -1, 1, 1]);
});

it.each(['inputs', 'prefix'] as const)(
  'lets sequences continue only the first one after %s of a run',
  (slot) => {
    const all = slots();
    if (slot === 'inputs') all.inputs.attach(1, { length: 2, embeddings: () => zeros([2, 1]) });
    else all.prefix.attach(1, { length: 2, open: () => () => nothing });
    const [a, b, c] = [0, 1, 2].map((start) => ({ run: 1, start, length: 1 })) as [
      Sequence,
      Sequence,
      Sequence,
    ];
    const first = batch([a, { ...b, after: 1 }, { ...c, after: 2 }]);
    const { segments, positions } = new PackedLayout(first, all, 'causal');
    const shared = slot === 'inputs' ? [-1, 0, 1, 1] : [-1, 0, 0];
    expect(segments.map((segment) => segment.shared)).toEqual(shared);
    expect([...positions].slice(-3)).toEqual([2, 2, 2]);
    const second = batch([a, b, { ...c, after: 1 }]);
    expect(() => new PackedLayout(second, all, 'causal')).toThrow(
      /row 2 continues another one, which is not supported here/,
    );
  },
);

it('rejects virtual inputs and a prefix of one run', () => {
  const all = slots();
  all.inputs.attach(1, { length: 2, embeddings: () => zeros([2, 1]) });
  all.prefix.attach(1, { length: 2, open: () => () => nothing });
  expect(() => new PackedLayout(batch([{ run: 1, start: 0, length: 1 }]), all, 'causal')).toThrow(
    /run 1 has virtual inputs and a prefix/,
  );
});

it.each<[string, readonly Sequence[], RegExp]>([
  ['gaps', [{ run: 1, start: 1, length: 1 }], /starts at row 1/],
  ['empty sequences', [{ run: 1, start: 0, length: 0 }], /is empty/],
  [
    'runs whose rows are not contiguous',
    [0, 1, 0].map((run, start) => ({ run, start, length: 1 })),
    /rows of run 0 are not contiguous/,
  ],
  ['an empty batch', [], /it is empty/],
  [
    'a sequence that continues one of another run',
    [
      { run: 0, start: 0, length: 1 },
      { run: 1, start: 1, length: 1, after: 1 },
    ],
    /row 1 must continue one of its run that continues no other/,
  ],
  [
    'a sequence that continues a continuation',
    [0, 1, 2].map((start) => ({ run: 0, start, length: 1, ...(start > 0 && { after: 1 }) })),
    /row 2 must continue one of its run that continues no other/,
  ],
])('rejects %s', (_, sequences, message) => {
  expect(() => new PackedLayout(batch(sequences), slots(), 'causal')).toThrow(message);
});
