import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commandOf } from '../system/process-command.js';
import { lockHome } from './lock.js';

const home = mkdtempSync(join(tmpdir(), 'graft-up-lock-'));
const { title } = process;
beforeAll(() => {
  process.title = 'graft up';
});
afterAll(() => {
  process.title = title;
  rmSync(home, { recursive: true, force: true });
});

it('takes over the lock of an earlier process with the same id', async () => {
  if (process.platform === 'linux') expect(commandOf(process.pid)).toContain('graft up');
  const path = join(home, 'up.json');
  writeFileSync(path, JSON.stringify({ pid: process.pid, children: [] }));
  const lock = await lockHome(home);
  expect(existsSync(path)).toBe(true);
  lock.release();
  expect(existsSync(path)).toBe(false);
});
