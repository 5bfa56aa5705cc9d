// Rows of the README's tables that a merge doubled would say two things of one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const README = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');

it('says each thing once', () => {
  const labels = [...README.matchAll(/^\| (\w+) \|/gm)].map(([, label]) => label);
  expect(labels).toContain('models');
  expect(labels).toEqual([...new Set(labels)]);
});
