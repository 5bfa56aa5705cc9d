import type { Response } from 'express';
import { once } from 'node:events';

const PATIENCE_MS = 30_000;

/** Waits until the client has read what was written; one that does not read is let go. */
export async function drained(response: Response): Promise<void> {
  const over = new AbortController();
  const patience = setTimeout(() => response.destroy(), PATIENCE_MS);
  try {
    await Promise.race(
      ['drain', 'close'].map((event) => once(response, event, { signal: over.signal })),
    );
  } finally {
    clearTimeout(patience);
    over.abort();
  }
}
