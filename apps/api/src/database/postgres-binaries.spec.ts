import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reachableBinaries } from './postgres-binaries.js';

const NOBODY = 65534;
let home: string;
let native: string;
const planted: string[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'graft-binaries-'));
  chmodSync(home, 0o755);
  // A checkout that other users cannot enter, such as one in /root.
  const checkout = join(home, 'checkout');
  mkdirSync(checkout, { mode: 0o700 });
  native = join(checkout, 'native');
  writeProgram(native, 'genuine');
});
afterEach(() => {
  for (const folder of [home, ...planted.splice(0)]) rmSync(folder, { recursive: true });
});

function writeProgram(folder: string, content: string): void {
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(join(folder, 'bin/postgres'), content, { mode: 0o755 });
}
const used = (): string => readFileSync(join(found(), 'bin/postgres'), 'utf8');
const found = (): string => reachableBinaries(native, home, { uid: NOBODY, gid: NOBODY });

// Only root runs the server as another user.
describe.runIf(process.getuid?.() === 0)('binaries for another user', () => {
  it('are copied once to a folder that the user can read and no one else can write to', () => {
    const folder = found();
    expect(folder.startsWith(home)).toBe(true);
    expect(used()).toBe('genuine');
    const { uid, mode } = statSync(folder);
    expect([uid, mode & 0o022, mode & 0o005]).toEqual([0, 0, 0o005]);
    const before = statSync(join(folder, 'bin/postgres')).ino;
    expect(statSync(join(found(), 'bin/postgres')).ino).toBe(before);
  });

  it('are never used from the shared temporary folder, where any user could have created them', () => {
    const guessed = join(tmpdir(), `graft-postgres-${statSync(native).mtimeMs.toFixed(0)}`);
    writeProgram(guessed, 'planted');
    planted.push(guessed);
    expect(used()).toBe('genuine');
  });

  it.each([
    ['belongs to another user', (folder: string) => chownSync(folder, NOBODY, NOBODY)],
    ['others may write to', (folder: string) => chmodSync(folder, 0o777)],
  ])('are not used from a folder that %s', (_, spoil) => {
    const copy = found();
    writeFileSync(join(copy, 'bin/postgres'), 'planted');
    spoil(join(copy, '..'));
    expect(used()).toBe('genuine');
  });

  it('are copied again when they have changed', () => {
    found();
    writeProgram(native, 'newer');
    utimesSync(native, 1, 1);
    expect(used()).toBe('newer');
  });

  it('are not copied if all users can read them', () => {
    chmodSync(join(home, 'checkout'), 0o755);
    expect(found()).toBe(native);
  });
});
