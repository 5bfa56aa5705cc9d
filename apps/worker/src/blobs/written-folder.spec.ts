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
// rmSync cannot remove everything that these tests create.
afterEach(() => execFileSync('rm', ['-rf', home]));

/** Creates nested folders step by step, so that the whole path exceeds the maximum length of a path. */
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
  it.each([33, 700])('is removed with folders nested %i levels deep', async (levels) => {
    deep(levels);
    await removeWritten(run);
    expect(readdirSync(home)).toEqual([]);
  });

  it.skipIf(process.platform !== 'linux')(
    'is removed with names of files and folders that are not UTF-8',
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

  it('is removed with its links and pipes, but not their targets', async () => {
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

  it('is removed once a trainer that still writes has exited', async () => {
    const stop = writeInto(run);
    setTimeout(stop, 150);
    await removeWritten(run);
    expect(existsSync(run)).toBe(false);
  });

  it('fails to be removed while a trainer keeps writing', async () => {
    const stop = writeInto(run);
    await expect(removeWritten(run)).rejects.toThrow('ENOTEMPTY');
    stop();
  });

  it('may be missing', async () => {
    rmSync(run, { recursive: true });
    await removeWritten(run);
  });
});
