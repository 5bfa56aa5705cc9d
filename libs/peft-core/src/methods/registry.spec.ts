import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { methods } from './registry.js';

const ROOT = join(import.meta.dirname, '../../../..');

it.each(methods.map(({ title }) => [title]))("README's table names %s", (title) => {
  const [row = ''] =
    readFileSync(join(ROOT, 'README.md'), 'utf8').match(/^\| methods \|.*$/m) ?? [];
  expect(row.toLowerCase()).toContain(title.toLowerCase());
});
