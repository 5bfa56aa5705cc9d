import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

interface Mutation {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly specs: readonly string[];
  /** Pattern of the titles of the tests to run. Default: all tests of the specs. */
  readonly tests?: string;
}

const ROOT = join(import.meta.dirname, '../..');
const all = JSON.parse(
  readFileSync(join(ROOT, 'test/mutations/mutations.json'), 'utf8'),
) as Mutation[];

it('has mutations with unique names', () => {
  expect(all.length).toBeGreaterThanOrEqual(30);
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
});

it.each(all)('$name: can still be planted', ({ file, find, replace, specs }) => {
  const text = readFileSync(join(ROOT, file), 'utf8');
  expect(text.split(find)).toHaveLength(2);
  expect(text.replace(find, () => replace)).not.toBe(text);
  for (const spec of specs) expect(existsSync(join(ROOT, spec)), spec).toBe(true);
});

it.each(all.filter(({ tests, specs }) => tests && specs.every((spec) => spec.startsWith('apps/'))))(
  '$name: runs tests that exist',
  ({ tests, specs }) => {
    const texts = specs.map((spec) => readFileSync(join(ROOT, spec), 'utf8')).join('\n');
    for (const title of tests!.split('|')) expect(texts).toMatch(new RegExp(title));
  },
);
