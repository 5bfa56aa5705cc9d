import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { commitFolder, listNumbered, readCommitted, sweepTemporary } from './commit-folder.js';

let parent: string;
beforeEach(() => (parent = mkdtempSync(join(tmpdir(), 'graft-commit-'))));
afterEach(() => rmSync(parent, { recursive: true }));

const fill = (text: string) => (dir: string) => writeFileSync(join(dir, 'a.txt'), text);

it('lists and hashes what was written', () => {
  const files = commitFolder(join(parent, 'c-1'), fill('abc'), { step: 1 });
  expect(files.map(({ name, size }) => [name, size])).toEqual([
    ['a.txt', 3],
    ['manifest.json', expect.any(Number)],
  ]);
  expect(files[0]?.sha256).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(readCommitted(join(parent, 'c-1'))).toMatchObject({ step: 1 });
  expect(readdirSync(parent)).toEqual(['c-1']);
});

it('replaces a folder of the same name', () => {
  commitFolder(join(parent, 'c-1'), fill('old'), {});
  commitFolder(join(parent, 'c-1'), fill('new'), {});
  expect(readFileSync(join(parent, 'c-1', 'a.txt'), 'utf8')).toBe('new');
  expect(readdirSync(parent)).toEqual(['c-1']);
});

it('leaves nothing behind when writing fails', () => {
  commitFolder(join(parent, 'c-1'), fill('old'), {});
  const failing = () => {
    throw new Error('disk full');
  };
  expect(() => commitFolder(join(parent, 'c-1'), failing, {})).toThrow('disk full');
  expect(readFileSync(join(parent, 'c-1', 'a.txt'), 'utf8')).toBe('old');
  expect(readdirSync(parent)).toEqual(['c-1']);
});

it('rejects a folder with a changed, truncated or missing file', () => {
  const dir = join(parent, 'c-1');
  commitFolder(dir, fill('abc'), {});
  for (const break_ of [
    () => writeFileSync(join(dir, 'a.txt'), 'abd'),
    () => writeFileSync(join(dir, 'a.txt'), 'ab'),
    () => rmSync(join(dir, 'a.txt')),
  ]) {
    break_();
    expect(() => readCommitted(dir)).toThrow(/a\.txt/);
  }
});

it('rejects a manifest that lists a path outside the folder', () => {
  const dir = join(parent, 'c-1');
  commitFolder(dir, fill('abc'), {});
  writeFileSync(
    join(dir, 'manifest.json'),
    JSON.stringify({ files: [{ name: '../x', sha256: '', size: 0 }] }),
  );
  expect(() => readCommitted(dir)).toThrow('../x');
});

it('lists the newest first and removes temporary folders of killed processes', () => {
  for (const step of [2, 10, 9]) commitFolder(join(parent, `checkpoint-${step}`), fill('x'), {});
  commitFolder(join(parent, 'checkpoint-11.tmp-42'), fill('half'), null);
  sweepTemporary(parent);
  expect(listNumbered(parent, 'checkpoint-').map(({ step }) => step)).toEqual([10, 9, 2]);
  expect(readdirSync(parent)).not.toContain('checkpoint-11.tmp-42');
});
