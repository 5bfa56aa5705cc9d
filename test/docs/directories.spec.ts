// docs/adr/0031: a directory fits on a screen, so that its listing gives an overview. Directories of plug-ins, with one
// file each, may be larger.
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const MOST_FILES = 25;
const PLUG_INS = [
  'apps/cli/src/commands',
  'libs/kernels/native/ops',
  'libs/peft-core/src/methods',
  'libs/peft-core/src/models',
];
const SOURCE = /\.(tsx?|[cm]js|css|cpp|inc|cu|h)$/;
const BUILT = new Set(['node_modules', 'dist', 'dist-types', 'bundle', 'build', 'gen']);

interface Directory {
  readonly path: string;
  readonly files: number;
}

function directories(path: string): Directory[] {
  const entries = readdirSync(path, { withFileTypes: true });
  const files = entries.filter(
    (entry) => entry.isFile() && SOURCE.test(entry.name) && !entry.name.includes('.spec.'),
  ).length;
  const inner = entries.filter((entry) => entry.isDirectory() && !BUILT.has(entry.name));
  return [
    { path: relative(ROOT, path), files },
    ...inner.flatMap(({ name }) => directories(join(path, name))),
  ];
}

const all = ['apps', 'libs', 'test', 'tools'].flatMap((top) => directories(join(ROOT, top)));
const large = all.filter(({ files }) => files > MOST_FILES);

it(`no directory holds more than ${MOST_FILES} source files, except those of plug-ins`, () => {
  expect(large.filter(({ path }) => !PLUG_INS.includes(path))).toEqual([]);
});

it('the exceptions are needed', () => {
  expect(large.map(({ path }) => path).sort()).toEqual(PLUG_INS);
});
