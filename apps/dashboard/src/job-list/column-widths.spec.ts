// @vitest-environment happy-dom
import { expect, it } from 'vitest';
import { fitColumns } from './column-widths.js';
import { USUAL_COLUMNS } from './job-columns.js';

/** Widths of the contents of an ordinary list. */
const CONTENT = new Map([
  ['status', 110],
  ['name', 420],
  ['name alone', 260],
  ['result', 90],
  ['trend', 68],
  ['method', 70],
  ['model', 140],
  ['created_at', 70],
  ['took', 66],
]);
const sum = (columns: readonly { width: number }[]) =>
  columns.reduce((all, { width }) => all + width, 0);
const fitted = (available: number) => fitColumns(USUAL_COLUMNS, CONTENT, available);
const widthOf = (available: number, id: string) =>
  fitted(available).find((column) => column.id === id)?.width ?? 0;

it('gives all columns what their content needs, and the rest to the name', () => {
  const wide = fitted(1600);
  expect(wide.map(({ id }) => id)).toEqual([...USUAL_COLUMNS]);
  expect(sum(wide)).toBeLessThanOrEqual(1600);
  expect(sum(wide)).toBeGreaterThan(1590);
  for (const { id, width } of wide) expect(width).toBeGreaterThanOrEqual(CONTENT.get(id)! + 20);
});

it('hides columns without content', () => {
  const content = new Map([...CONTENT, ['trend', 0] as const, ['model', 0] as const]);
  const ids = fitColumns(USUAL_COLUMNS, content, 1200).map(({ id }) => id);
  expect(ids).not.toContain('trend');
  expect(ids).not.toContain('model');
});

it('leaves out columns rather than cut a number', () => {
  for (const available of [1100, 900, 700, 600, 520]) {
    const columns = fitted(available);
    expect(sum(columns)).toBeLessThanOrEqual(available);
    for (const id of ['result', 'took', 'created_at'])
      if (columns.some((column) => column.id === id))
        expect([available, id, widthOf(available, id) >= CONTENT.get(id)! + 20]).toEqual([available, id, true]); // prettier-ignore
  }
  expect(fitted(600).map(({ id }) => id)).toEqual(['status', 'name', 'result', 'method']);
});

it('shows names before explanations', () =>
  expect(widthOf(1000, 'name')).toBeGreaterThanOrEqual(280));
