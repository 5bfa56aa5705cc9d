import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { methodTitles, referencePages } from './reference.mjs';

const FOLDER = new URL('../docs/reference/', import.meta.url);

it('docs/reference is up to date: otherwise run npm run build && node tools/reference.mjs', async () => {
  const pages = await referencePages();
  expect(readdirSync(FOLDER).sort()).toEqual(Object.keys(pages).sort());
  for (const [name, text] of Object.entries(pages))
    expect(readFileSync(new URL(name, FOLDER), 'utf8'), name).toBe(text);
});

it('programs know the titles of all methods: otherwise run npm run build && node tools/reference.mjs', async () => {
  const file = new URL('../libs/contracts/src/gen/method-titles.ts', import.meta.url);
  expect(readFileSync(file, 'utf8')).toBe(await methodTitles());
});
