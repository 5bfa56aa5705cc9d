// For a program that reads a stranger's file: what the file claims decides what it allocates, beyond the heap, too. One
// that claims too much is killed without anybody noticing.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

const MOST_BYTES = 1.5e9;

/** The reading leaves no time to look: a thread does. An API that was killed leaves nobody to end this process. */
export function guard(): void {
  const watch = `const { ppid } = process;
setInterval(() => {
  if (process.memoryUsage.rss() > ${MOST_BYTES} || process.ppid !== ppid) process.kill(process.pid, 'SIGKILL');
}, 20);`;
  new Worker(watch, { eval: true, execArgv: [] }).unref();
}

/** Writes it, and waits where nobody reads as fast. */
export async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
