// A process that decodes one binary table into JSON Lines on its output. What a file claims decides what the decoder
// allocates, beyond the heap, too: here one that claims too much is killed without anybody noticing.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MAX_LINE_BYTES } from '@graft/contracts';

const MOST_BYTES = 1.5e9;
const BATCH_CHARACTERS = 64 * 1024;

// The decoder leaves no time to look: a thread does. An API that was killed leaves nobody to end this process.
const guard = `const { ppid } = process;
setInterval(() => {
  if (process.memoryUsage.rss() > ${MOST_BYTES} || process.ppid !== ppid) process.kill(process.pid, 'SIGKILL');
}, 20);`;
new Worker(guard, { eval: true, execArgv: [] }).unref();

/** A row a line. One beyond the limit is cut behind it, for the reader to refuse. */
async function write(rows: Iterable<unknown>): Promise<void> {
  let batch = '';
  const flush = async (): Promise<void> => {
    const room = process.stdout.write(batch);
    batch = '';
    if (!room) await once(process.stdout, 'drain');
  };
  for (const row of rows) {
    batch += `${JSON.stringify(row, plain).slice(0, MAX_LINE_BYTES + 1)}\n`;
    if (batch.length >= BATCH_CHARACTERS) await flush();
  }
  await flush();
}

/** JSON has no integers of 64 bits and no bytes. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: value.length };
  return typeof value === 'bigint' ? Number(value) : value;
}

try {
  const [kind, path] = process.argv.slice(2) as [string, string];
  // Each decoder takes a while to load.
  const decode =
    kind === 'arrow'
      ? (await import('./decode-arrow.js')).decodeArrow
      : (await import('./decode-parquet.js')).decodeParquet;
  for await (const rows of decode(path)) await write(rows);
} catch (error) {
  // What a damaged file leads the decoder to is no message for people.
  const stumbled = error instanceof TypeError || error instanceof RangeError;
  process.stderr.write(stumbled ? 'it is damaged' : (error as Error).message.slice(0, 200));
  process.exitCode = 1;
}
