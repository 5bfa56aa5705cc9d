// For a program that reads a stranger's file: what the file claims decides what it allocates, beyond the heap, too. Where
// the system limits its memory (sandbox/reader-sandbox.ts) it stumbles over that; elsewhere it is killed here.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import type { ConfinedAnswer } from './confined-answer.js';

const MOST_BYTES = 1.5e9;

/** The reading leaves no time to look: a thread does. An API that was killed leaves nobody to end this process. */
export function guard(): void {
  const watch = `const { ppid } = process;
setInterval(() => {
  try {
    if (process.memoryUsage.rss() > ${MOST_BYTES} || process.ppid !== ppid) process.kill(process.pid, 'SIGKILL');
  } catch {} // in the sandbox, which has limits of its own and forbids signals
}, 20);`;
  new Worker(watch, { eval: true, execArgv: [] }).unref();
}

/** Writes it, and waits where nobody reads as fast. */
export async function write(content: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(content)) await once(process.stdout, 'drain');
}

/** Writes what the work finds, or what it refuses, for `confinedAnswer`. */
export async function answer(work: () => unknown): Promise<void> {
  let found: ConfinedAnswer<unknown>;
  try {
    found = { value: await work() };
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const { code, message, param } = error;
    found = { refused: { code, message, param } };
  }
  await write(JSON.stringify(found));
}

/** Ends the program with words for people. What a damaged file leads a library to are none. */
export function fail(error: unknown): void {
  const { message } = error as Error;
  const lacksMemory = error instanceof RangeError && /allocation failed/i.test(message);
  const stumbled = error instanceof TypeError || error instanceof RangeError;
  process.stderr.write(
    lacksMemory ? 'it needs too much memory' : stumbled ? 'it is damaged' : message,
  );
  process.exitCode = 1;
}
