import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { resultPages } from './results.mjs';

it.each(Object.entries(resultPages()))(
  'docs/%s is up to date: otherwise run node tools/results.mjs',
  (page, text) => {
    expect(readFileSync(new URL(`../docs/${page}`, import.meta.url), 'utf8')).toBe(text);
  },
);
