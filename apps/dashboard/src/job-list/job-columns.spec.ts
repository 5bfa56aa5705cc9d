// @vitest-environment happy-dom
import type { JobObject } from '@graft/contracts';
import { expect, it } from 'vitest';
import { ALL_COLUMNS, columnWidths, USUAL_COLUMNS, withoutEmpty } from './job-columns.js';

const sum = (widths: readonly number[]) => widths.reduce((all, one) => all + one, 0);

it('distributes the remaining width, and gives each column its minimum', () => {
  const least = columnWidths(USUAL_COLUMNS, 0);
  const wide = columnWidths(USUAL_COLUMNS, 1300);
  expect(sum(wide)).toBeGreaterThan(1300 - USUAL_COLUMNS.length);
  expect(sum(wide)).toBeLessThanOrEqual(1300);
  expect(wide.every((width, n) => width >= least[n]!)).toBe(true);
  expect(wide[USUAL_COLUMNS.indexOf('name')]).toBeGreaterThan(
    wide[USUAL_COLUMNS.indexOf('model')]!,
  );
  // All default columns fit on a tablet.
  expect(sum(least)).toBeLessThan(1024 - 24 - 32 - 62 - 2);
  expect(columnWidths(ALL_COLUMNS, 100)).toEqual(columnWidths(ALL_COLUMNS, 0));
});

it('fits the reason why a job waits', () => {
  const ids = USUAL_COLUMNS.filter((id) => id !== 'tags');
  const atDesk = columnWidths(ids, 1440 - 184 - 40 - 32 - 62 - 2);
  expect(atDesk[ids.indexOf('progress')]).toBeGreaterThan(200);
});

it('hides the tags column if no job has tags', () => {
  const job = (...tags: string[]) => ({ graft: { tags } }) as unknown as JobObject;
  expect(withoutEmpty(['name', 'tags', 'pool'], [job(), job()])).toEqual(['name', 'pool']);
  expect(withoutEmpty(['name', 'tags', 'pool'], [job(), job('red')])).toContain('tags');
  expect(withoutEmpty(['tags'], [job()])).toEqual(['tags']);
});
