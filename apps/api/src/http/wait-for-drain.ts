import type { Response } from 'express';
import { once } from 'node:events';

const PATIENCE_MS = 30_000;

/**
 * Waits until the client has read the written data. Closes the connection if the client does not read for
 * 30 s.
 */
export async function waitForDrain(response: Response): Promise<void> {
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
