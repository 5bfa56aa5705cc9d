import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { lockFolder } from './folder-lock.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-lock-'));
const lock = join(folder, '.graft-lock');
afterAll(() => rmSync(folder, { recursive: true, force: true }));
// Part of the command line of this process.
const COMMAND = 'node';

it('takes over the lock of an earlier process with the same id, but not its own', () => {
  writeFileSync(lock, String(process.pid));
  const release = lockFolder(folder, COMMAND);
  expect(() => lockFolder(folder, COMMAND)).toThrow(`another graft node (pid ${process.pid})`);
  release();
  expect(existsSync(lock)).toBe(false);
  lockFolder(folder, COMMAND)();
});

it('respects the lock of another process', () => {
  writeFileSync(lock, String(process.ppid));
  expect(() => lockFolder(folder, COMMAND)).toThrow(`(pid ${process.ppid})`);
  expect(existsSync(lock)).toBe(true);
});

it('listens for signals only while it has a lock', () => {
  const listeners = () => ['SIGINT', 'SIGTERM'].map((signal) => process.listenerCount(signal));
  const before = listeners();
  rmSync(lock, { force: true });
  const release = lockFolder(folder, COMMAND);
  expect(listeners()).toEqual(before.map((count) => count + 1));
  release();
  release();
  expect(listeners()).toEqual(before);
});
