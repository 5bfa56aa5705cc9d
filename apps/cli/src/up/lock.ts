import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli-error.js';
import { commandOf } from '../system/process-command.js';
import { GRAFT } from '../called.js';

interface LockFile {
  readonly pid: number;
  /** Programs that this instance started: process id, and path on the command line. */
  readonly children: readonly { readonly pid: number; readonly script: string }[];
}

/** Lock of a home folder: a file with the process id of its `graft up`. */
export interface HomeLock {
  record(children: LockFile['children']): void;
  release(): void;
}

/**
 * Locks the home folder for this process. Takes over a lock whose process has exited, and stops the programs that a killed
 * instance left running.
 * @throws CliError if another instance is running
 */
export async function lockHome(home: string): Promise<HomeLock> {
  mkdirSync(home, { recursive: true, mode: 0o755 });
  const path = join(home, 'up.json');
  const previous = read(path);
  // In a container, a restarted process has the id of the previous one.
  const isEarlier = previous?.pid === process.pid;
  if (previous !== null && !isEarlier && commandOf(previous.pid)?.includes(' up') === true) {
    throw new CliError(
      `Graft is already running in ${home} (pid ${previous.pid}); stop it, or choose another folder with --home`,
    );
  }
  if (previous !== null) {
    await endLeftovers(previous.children);
    rmSync(path, { force: true });
  }
  const write = (children: LockFile['children'], flag: string): void =>
    writeFileSync(path, JSON.stringify({ pid: process.pid, children } satisfies LockFile), {
      mode: 0o600,
      flag,
    });
  try {
    write([], 'wx');
  } catch {
    throw new CliError(
      `another \`${GRAFT} up\` is starting in ${home}; wait for it, or choose another folder with --home`,
    );
  }
  return {
    record: (children) => write(children, 'w'),
    release: () => rmSync(path, { force: true }),
  };
}

function read(path: string): LockFile | null {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as LockFile;
    return Number.isInteger(value.pid) ? value : null;
  } catch {
    return null; // The file is missing or truncated.
  }
}

async function endLeftovers(children: LockFile['children']): Promise<void> {
  const alive = children.filter(({ pid, script }) => commandOf(pid)?.includes(script) === true);
  for (const { pid } of alive) process.kill(pid, 'SIGTERM');
  for (let waited = 0; waited < 10_000 && alive.some(({ pid }) => commandOf(pid)); waited += 100)
    await sleep(100);
  for (const { pid, script } of alive)
    if (commandOf(pid)?.includes(script) === true) process.kill(pid, 'SIGKILL');
}
