import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { lockFolder } from './folder-lock.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-lock-'));
const lock = join(folder, '.graft-lock');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
// as this process's own command line has it
const COMMAND = 'node';

it('takes over a lock of an earlier process that had the same id, and holds its own', () => {
  writeFileSync(lock, String(process.pid));
  const release = lockFolder(folder, COMMAND);
  expect(() => lockFolder(folder, COMMAND)).toThrow(`another graft node (pid ${process.pid})`);
  release();
  expect(existsSync(lock)).toBe(false);
  lockFolder(folder, COMMAND)();
});

it('leaves alone what another process holds', () => {
  writeFileSync(lock, String(process.ppid));
  expect(() => lockFolder(folder, COMMAND)).toThrow(`(pid ${process.ppid})`);
  expect(existsSync(lock)).toBe(true);
});

it('listens for signals only while it holds something', () => {
  const listeners = () => ['SIGINT', 'SIGTERM'].map((signal) => process.listenerCount(signal));
  const before = listeners();
  rmSync(lock, { force: true });
  const release = lockFolder(folder, COMMAND);
  expect(listeners()).toEqual(before.map((count) => count + 1));
  release();
  release();
  expect(listeners()).toEqual(before);
});
