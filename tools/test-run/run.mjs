// A run of the tests has an id, which its processes carry in their environment and its databases in their names, and one
// temporary directory. A second process removes all of it when the run ends, even when `kill -9` ended the run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REAPER = fileURLToPath(new URL('reaper.mjs', import.meta.url));

/** The variable that holds a run's id. */
export const RUN = 'GRAFT_TEST_RUN';

/**
 * Opens a run that lasts until `close` is called or this process ends.
 * @returns {{ id: string, dir: string, env: Record<string, string>, close: () => Promise<void> }} `env` is for whatever
 *   belongs to the run; `close` ends everything that is left of it
 */
export function openRun() {
  const id = `${process.pid}_${Date.now().toString(36)}`;
  const dir = join(tmpdir(), `graft-test-${id}`);
  mkdirSync(dir);
  // as root, PostgreSQL runs as another user, who has to reach its files in here
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
