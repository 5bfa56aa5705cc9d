import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli-error.js';
import { commandOf } from '../system/process-command.js';

interface Held {
  readonly pid: number;
  /** Programs this instance started, by process id and the path on their command line. */
  readonly children: readonly { readonly pid: number; readonly script: string }[];
}

/** One `graft up` per home: a file that names the process that holds it. */
export interface HomeLock {
  record(children: Held['children']): void;
  release(): void;
}

/**
 * Takes the home for this process. A lock whose process is gone is taken over, after ending the programs
 * that a killed instance left running.
 * @throws CliError when another instance is up
 */
export async function lockHome(home: string): Promise<HomeLock> {
  mkdirSync(home, { recursive: true, mode: 0o755 });
  const path = join(home, 'up.json');
  const held = read(path);
  // in a container a restarted process has the id that the one before it had
  const isEarlier = held?.pid === process.pid;
  if (held !== null && !isEarlier && commandOf(held.pid)?.includes(' up') === true) {
    throw new CliError(
      `Graft is already running in ${home} (pid ${held.pid}); stop it, or choose another home with --home`,
    );
  }
  if (held !== null) {
    await endLeftovers(held.children);
    rmSync(path, { force: true });
  }
  const write = (children: Held['children'], flag: string): void =>
    writeFileSync(path, JSON.stringify({ pid: process.pid, children } satisfies Held), {
      mode: 0o600,
      flag,
    });
  try {
    write([], 'wx');
  } catch {
    throw new CliError(`another \`graft up\` is starting in ${home}`);
  }
  return {
    record: (children) => write(children, 'w'),
    release: () => rmSync(path, { force: true }),
  };
}

function read(path: string): Held | null {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as Held;
    return Number.isInteger(value.pid) ? value : null;
  } catch {
    return null; // none, or cut off: nobody can be named
  }
}

async function endLeftovers(children: Held['children']): Promise<void> {
  const alive = children.filter(({ pid, script }) => commandOf(pid)?.includes(script) === true);
  for (const { pid } of alive) process.kill(pid, 'SIGTERM');
  for (let waited = 0; waited < 10_000 && alive.some(({ pid }) => commandOf(pid)); waited += 100)
    await sleep(100);
  for (const { pid, script } of alive)
    if (commandOf(pid)?.includes(script) === true) process.kill(pid, 'SIGKILL');
}
