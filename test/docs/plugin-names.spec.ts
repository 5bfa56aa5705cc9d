// docs/adr/0005: outside its own file and the registry, the source does not name a PEFT method, except for the default.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { methods } from '@graft/peft-core';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PLUG_INS = 'libs/peft-core/src/methods/';
/** Default method that users may omit, and the name for training without an adapter. */
const ALLOWED = ['LORA', 'FULL'];
/** File with the methods that are suggested first. Titles are generated from the plug-ins. */
const SUGGESTED = 'libs/contracts/src/jobs/job-method.ts';

const sources = ['apps', 'libs'].flatMap((top) =>
  readdirSync(join(ROOT, top)).flatMap((project) =>
    readdirSync(join(ROOT, top, project, 'src'), { recursive: true, encoding: 'utf8' })
      .map((file) => `${top}/${project}/src/${file}`)
      .filter((file) => /\.tsx?$/.test(file) && !/\.spec\.tsx?$|\/gen\//.test(file)),
  ),
);

/** Matches a name as a string or as an object's key. */
const naming = (names: readonly string[]): RegExp =>
  new RegExp(`(['"\`])(${names.join('|')})\\1|(^|[{,])\\s*(${names.join('|')}):`, 'm');

const namesOneOf = (file: string, names: readonly string[]): boolean =>
  naming(names).test(readFileSync(join(ROOT, file), 'utf8'));

it('only plug-ins name methods', () => {
  const names = methods.map(({ name }) => name).filter((name) => !ALLOWED.includes(name));
  const others = sources.filter((file) => !file.startsWith(PLUG_INS) && file !== SUGGESTED);
  expect(sources.some((file) => file.startsWith(PLUG_INS) && namesOneOf(file, names))).toBe(true);
  expect(others.filter((file) => namesOneOf(file, names))).toEqual([]);
});

it('peft-core names no method outside the plug-ins', () => {
  const core = sources.filter((file) => file.startsWith('libs/peft-core/'));
  const others = core.filter((file) => !file.startsWith(PLUG_INS));
  expect(others.length).toBeGreaterThan(0);
  expect(others.filter((file) => namesOneOf(file, ALLOWED))).toEqual([]);
});
