import { Slots } from '../limits/slots.js';

/**
 * Limits requests while their file arrives. Each keeps an unfinished line and the hashes of its records in
 * memory. Conversions and inspections that follow have their own slots (confined-process.ts).
 */
export const receivingSlots = new Slots({
  atOnce: 64,
  each: 8,
  waiting: 256,
  waitingEach: 64,
  what: 'files are being received',
});

/** Limits uploads whose parts are joined into a file. Each reads all its parts and writes them again. */
export const completingSlots = new Slots({
  atOnce: 16,
  each: 1,
  waiting: 64,
  waitingEach: 16,
  what: 'uploads are being completed',
});

/** The slots above limit how many requests wait here. Each waits to have one chunk checked. */
const checkingSlots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: Infinity,
  waitingEach: Infinity,
  what: 'files are being checked',
});

/**
 * Yields chunks that are then checked on the API's main thread. A project holds a slot from one chunk until it
 * requests the next, but not while its client is sending.
 */
export async function* withSlots(
  source: AsyncIterable<Buffer>,
  project: string,
  gone: AbortSignal,
): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    const done = await checkingSlots.take(project, gone);
    try {
      yield chunk;
    } finally {
      done();
    }
  }
}
