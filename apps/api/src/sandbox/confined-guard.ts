// Used in programs that read untrusted files. A file's content decides how much they allocate, also outside
// the heap. Where the system limits memory (sandbox/reader-sandbox.ts), the allocation fails; elsewhere this
// guard kills the process.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DomainError } from '@graft/contracts';
import type { ConfinedAnswer } from './confined-answer.js';

const MOST_BYTES = 1.5e9;

/**
 * Watches memory and the parent in a thread, because reading blocks the main thread. Nothing else ends this
 * process if the API is killed.
 */
export function guard(): void {
  const watch = `const { ppid } = process;
setInterval(() => {
  try {
    if (process.memoryUsage.rss() > ${MOST_BYTES} || process.ppid !== ppid) process.kill(process.pid, 'SIGKILL');
  } catch {} // in the sandbox, which has limits of its own and forbids signals
}, 20);`;
  new Worker(watch, { eval: true, execArgv: [] }).unref();
}

/** Writes to stdout and waits until the reader has caught up. */
export async function write(content: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(content)) await once(process.stdout, 'drain');
}

/** Writes the result of the work, or its DomainError, for `confinedAnswer`. */
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

/** Ends the program with a message for users. Replaces errors of libraries that a damaged file causes. */
export function fail(error: unknown): void {
  const { message } = error as Error;
  const lacksMemory = error instanceof RangeError && /allocation failed/i.test(message);
  const stumbled = error instanceof TypeError || error instanceof RangeError;
  process.stderr.write(
    lacksMemory ? 'it needs too much memory' : stumbled ? 'it is damaged' : message,
  );
  process.exitCode = 1;
}
