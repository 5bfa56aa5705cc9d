// The table of the README, which two branches have extended at the same time before.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { catalog } from '@graft/peft-core/catalog';
import { expect, it } from 'vitest';

const README = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');

it('has one row for each area', () => {
  const labels = [...README.matchAll(/^\| (\w+) \|/gm)].map(([, label]) => label);
  expect(labels).toContain('models');
  expect(labels).toEqual([...new Set(labels)]);
});

it('counts what the catalog has', () => {
  const { families, methods, tasks } = catalog();
  const types = new Set(families.flatMap(({ model_types: names }) => names));
  expect(README).toContain(`| models | ${types.size} model types,`);
  expect(README).toContain(`| methods | ${methods.length} methods:`);
  expect(README).toContain(`| tasks | ${tasks.length} tasks:`);
});

it('stays short enough to read', () => {
  expect(README.split('\n').length).toBeLessThanOrEqual(121);
});
