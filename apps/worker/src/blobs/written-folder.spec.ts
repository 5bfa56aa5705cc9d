import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeInto } from '../../test/scene.js';
import { removeWritten } from './written-folder.js';

let home: string;
let run: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'graft-written-'));
  run = join(home, 'run');
  mkdirSync(run);
});
// rmSync cannot remove all that is made here.
afterEach(() => execFileSync('rm', ['-rf', home]));

/** As a trainer makes them: each path on its own is short, all together they are longer than a path may be. */
function deep(levels: number): void {
  const next = join(home, 'next');
  for (let level = 0; level < levels; level++) {
    mkdirSync(next);
    writeFileSync(join(next, 'file'), '');
    renameSync(run, join(next, 'folder'));
    renameSync(next, run);
  }
}

describe('a folder that a trainer wrote', () => {
  it.each([33, 700])('is removed when its folders lie %i deep', async (levels) => {
    deep(levels);
    await removeWritten(run);
    expect(readdirSync(home)).toEqual([]);
  });

  it.skipIf(process.platform !== 'linux')(
    'is removed with names that are no UTF-8, of files and of folders',
    async () => {
      const named = (name: string) =>
        Buffer.concat([Buffer.from(`${run}/`), Buffer.from(name, 'latin1')]);
      writeFileSync(named('\xff'), '');
      mkdirSync(named('\xfe'));
      writeFileSync(Buffer.concat([named('\xfe'), Buffer.from('/\xfd', 'latin1')]), '');
      await removeWritten(run);
      expect(readdirSync(home)).toEqual([]);
    },
  );

  it('is removed with its links and pipes; what they lead to stays', async () => {
    const elsewhere = join(home, 'elsewhere');
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'file'), 'stays');
    mkdirSync(join(run, 'folder'));
    for (const folder of [run, join(run, 'folder')]) {
      symlinkSync(elsewhere, join(folder, 'to-folder'));
      symlinkSync(join(elsewhere, 'file'), join(folder, 'to-file'));
      execFileSync('mkfifo', [join(folder, 'pipe')]);
    }
    await removeWritten(run);
    expect(readdirSync(home)).toEqual(['elsewhere']);
    symlinkSync(elsewhere, run);
    await removeWritten(run);
    expect(readdirSync(home)).toEqual(['elsewhere']);
    expect(readFileSync(join(elsewhere, 'file'), 'utf8')).toBe('stays');
  });

  it('is removed while a trainer still writes, once that ends', async () => {
    const stop = writeInto(run);
    setTimeout(stop, 150);
    await removeWritten(run);
    expect(existsSync(run)).toBe(false);
  });

  it('says so when a trainer does not end', async () => {
    const stop = writeInto(run);
    await expect(removeWritten(run)).rejects.toThrow('ENOTEMPTY');
    stop();
  });

  it('need not be there', async () => {
    rmSync(run, { recursive: true });
    await removeWritten(run);
  });
});
