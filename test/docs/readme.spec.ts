// The table of the README, which two branches have extended at the same time before.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const README = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');

it('has one row for each area', () => {
  const labels = [...README.matchAll(/^\| (\w+) \|/gm)].map(([, label]) => label);
  expect(labels).toContain('models');
  expect(labels).toEqual([...new Set(labels)]);
});

it('stays short enough to read', () => {
  expect(README.split('\n').length).toBeLessThanOrEqual(121);
});
