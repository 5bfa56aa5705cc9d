import { describe, expect, it } from 'vitest';
import { covering, KINDS_OF_A_ROW, type Line, type Matrix } from './covering.js';

const lines = (letter: string, kinds: readonly number[]): Line[] =>
  kinds.map((kind, i) => ({ name: `${letter}${i}`, kind: `${letter} ${kind}` }));

const MATRICES: readonly (readonly [string, Matrix])[] = [
  [
    'more kinds of columns than KINDS_OF_A_ROW',
    {
      rows: lines('r', [0, 0, 0, 1, 0, 2, 1, 0, 0, 3, 2]),
      columns: lines('c', [0, 0, 1, 2, 0, 3, 4, 4, 5, 0]),
    },
  ],
  [
    'rows with few columns',
    {
      rows: lines('r', [0, 1, 2, 0, 1]),
      columns: lines('c', [0, 0, 1, 1, 2, 2, 3, 4]),
      has: (row, column) => (row === 'r1' ? column === 'c5' : row !== 'r2' || column < 'c2'),
    },
  ],
  [
    'columns of their own kind',
    {
      rows: lines('r', [0, 0, 0]),
      columns: lines('c', [0, 0, 0, 0, 0, 0]),
      always: [
        ['r2', 'c5'],
        ['r2', 'c4'],
      ],
    },
  ],
];

describe.each(MATRICES)('%s', (_, matrix) => {
  const { rows, columns, has = () => true, always = [] } = matrix;
  const isChosen = covering(matrix);

  it('selects only cases of the matrix', () => {
    for (const { name: row } of rows)
      for (const { name: column } of columns)
        if (isChosen(row, column)) expect(has(row, column), `${row} ${column}`).toBe(true);
  });

  it('selects each row with columns of different kinds', () => {
    for (const { name: row } of rows) {
      const own = columns.filter(({ name }) => has(row, name));
      const kinds = (some: readonly Line[]): number => new Set(some.map(({ kind }) => kind)).size;
      const met = own.filter(({ name }) => isChosen(row, name));
      expect(kinds(met), row).toBeGreaterThanOrEqual(Math.min(KINDS_OF_A_ROW, kinds(own)));
    }
  });

  it('selects each column with every kind of row', () => {
    for (const { name: column } of columns)
      for (const { kind } of rows) {
        const own = rows.filter((row) => row.kind === kind && has(row.name, column));
        const found = own.some(({ name }) => isChosen(name, column));
        expect(found, `${column} ${kind}`).toBe(own.length > 0);
      }
  });

  it('selects the cases in `always`', () => {
    for (const [row, column] of always) expect(isChosen(row, column)).toBe(true);
  });

  it('is deterministic', () => {
    const again = covering(matrix);
    for (const { name: row } of rows)
      for (const { name: column } of columns)
        expect(again(row, column)).toBe(isChosen(row, column));
  });
});

it('spreads the rows over columns of one kind', () => {
  const columns = lines('c', [0, 0, 0, 1, 2, 3]);
  const rows = lines('r', Array<number>(12).fill(0));
  const isChosen = covering({ rows, columns });
  const counts = ['c0', 'c1', 'c2'].map(
    (name) => rows.filter((row) => isChosen(row.name, name)).length,
  );
  expect(counts).toEqual([4, 4, 4]);
});

it('rejects an unknown name', () => {
  const [rows, columns] = [lines('r', [0]), lines('c', [0])];
  expect(() => covering({ rows, columns, always: [['r0', 'c7']] })).toThrow('no "c7"');
  expect(() => covering({ rows, columns })('r0', 'c7')).toThrow('no "c7"');
});
