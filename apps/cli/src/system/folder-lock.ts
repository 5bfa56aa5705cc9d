import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CliError } from '../cli-error.js';
import { commandOf } from './process-command.js';

/** Of this process. */
const held = new Set<string>();
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Takes a folder for this process until what is returned is called, or SIGINT or SIGTERM comes. A lock whose process is
 * gone is taken over.
 * @param command whose processes hold such locks
 * @throws CliError naming the process that has it
 */
export function lockFolder(folder: string, command: string): () => void {
  mkdirSync(folder, { recursive: true });
  const path = resolve(join(folder, '.graft-lock'));
  const holder = holderOf(path);
  if (holder !== null && isAlive(holder, path, command))
    throw new CliError(
      `${folder} is written by another graft ${command} (pid ${holder}); stop it, or name another folder`,
    );
  rmSync(path, { force: true });
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new CliError(`${folder} is written by another graft ${command}; name another folder`);
  }
  if (held.size === 0) for (const signal of signals()) process.on(signal, onSignal);
  held.add(path);
  return () => release(path);
}

function release(path: string): void {
  if (!held.delete(path)) return;
  rmSync(path, { force: true });
  if (held.size === 0) for (const signal of signals()) process.off(signal, onSignal);
}

const signals = () => Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];

/** Ends the process, too, unless somebody else listens for that. */
function onSignal(signal: keyof typeof SIGNALS): void {
  for (const path of [...held]) release(path);
  if (process.listenerCount(signal) === 0) process.exit(SIGNALS[signal]);
}

/** A container's processes have the same ids each time it starts: this one's, where it took no lock, is an earlier one's. */
const isAlive = (holder: number, path: string, command: string): boolean =>
  holder === process.pid ? held.has(path) : commandOf(holder)?.includes(command) === true;

function holderOf(path: string): number | null {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
