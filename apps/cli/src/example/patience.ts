import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../client/api.js';

const MOST_TRIES = 60;

/** Asks again while the worker is loading the base (503) or has no room (429). */
export async function patiently<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (
        !(error instanceof ApiError) ||
        (error.status !== 503 && error.status !== 429) ||
        tries >= MOST_TRIES
      )
        throw error;
      await sleep((error.retryAfterSeconds ?? 1) * 1000, undefined, { signal });
    }
  }
}
