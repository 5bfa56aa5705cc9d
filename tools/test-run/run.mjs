// A test run has an id, which is in the environment of its processes and in the names of its databases, and one temporary
// directory. A second process removes everything when the run ends, even after `kill -9`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REAPER = fileURLToPath(new URL('reaper.mjs', import.meta.url));

/** Environment variable with the run's id. */
export const RUN = 'GRAFT_TEST_RUN';

/**
 * Opens a run that lasts until `close` is called or this process exits.
 * @returns {{ id: string, dir: string, env: Record<string, string>, close: () => Promise<void> }} `env` has the
 *   variables for processes of the run; `close` removes everything that is left
 */
export function openRun() {
  const id = `${process.pid}_${Date.now().toString(36)}`;
  const dir = join(tmpdir(), `graft-test-${id}`);
  mkdirSync(dir);
  // For root, PostgreSQL runs as another user, who needs access to its files in this directory.
  chmodSync(dir, 0o755);
  // The reaper's standard input closes when this process ends. Its own session keeps Ctrl-C from it.
  const reaper = spawn(process.execPath, [REAPER, id, dir], {
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  reaper.stdin.on('error', () => undefined);
  for (const handle of [reaper, reaper.stdin]) handle.unref();
  const exited = once(reaper, 'exit');
  return {
    id,
    dir,
    env: { [RUN]: id, TMPDIR: dir },
    close: async () => {
      reaper.ref();
      reaper.stdin.end();
      await exited;
    },
  };
}
