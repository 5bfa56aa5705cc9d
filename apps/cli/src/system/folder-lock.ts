import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CliError } from '../cli-error.js';
import { commandOf } from './process-command.js';

/** Paths of the locks that this process holds. */
const locked = new Set<string>();
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Locks a folder for this process until the returned function is called or SIGINT or SIGTERM arrives. Takes over a lock
 * whose process has exited.
 * @param command subcommand of `graft` that uses such locks
 * @throws CliError with the id of the process that has the lock
 */
export function lockFolder(folder: string, command: string): () => void {
  mkdirSync(folder, { recursive: true });
  const path = resolve(join(folder, '.graft-lock'));
  const holder = holderOf(path);
  if (holder !== null && isAlive(holder, path, command))
    throw new CliError(
      `${folder} is in use by another graft ${command} (pid ${holder}); stop it, or use another folder`,
    );
  rmSync(path, { force: true });
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new CliError(`${folder} is in use by another graft ${command}; use another folder`);
  }
  if (locked.size === 0) for (const signal of signals()) process.on(signal, onSignal);
  locked.add(path);
  return () => release(path);
}

function release(path: string): void {
  if (!locked.delete(path)) return;
  rmSync(path, { force: true });
  if (locked.size === 0) for (const signal of signals()) process.off(signal, onSignal);
}

const signals = () => Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];

/** Releases all locks, and exits unless another listener handles the signal. */
function onSignal(signal: keyof typeof SIGNALS): void {
  for (const path of [...locked]) release(path);
  if (process.listenerCount(signal) === 0) process.exit(SIGNALS[signal]);
}

/** Whether the process that wrote a lock is running. Process ids repeat when a container restarts, so a lock with this process's id may be an earlier one's. */
const isAlive = (holder: number, path: string, command: string): boolean =>
  holder === process.pid ? locked.has(path) : commandOf(holder)?.includes(command) === true;

function holderOf(path: string): number | null {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
