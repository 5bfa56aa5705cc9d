import type { RecordedTry } from '../database/entities/webhooks.js';

/** Of one try, from finding the address to the end of the answer. */
export const DEADLINE_MS = 15_000;
/** How long an event is tried; an endpoint at which nothing went well for so long is switched off. */
export const GIVE_UP_MS = 3 * 24 * 3_600_000;

const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 6 * 3_600_000;

/**
 * Before the next try, after `tries` have failed: 5 s, four times as long each time, 6 h at most, give or take a
 * quarter, so that the events of an outage do not come back all at once. About 18 tries in three days.
 */
export function pauseMs(tries: number, random = Math.random()): number {
  const pause = Math.min(FIRST_PAUSE_MS * 4 ** (tries - 1), LONGEST_PAUSE_MS);
  return Math.round(pause * (0.75 + random / 2));
}

/** Any answer of success; what it says is not read. */
export const isOk = ({ status_code: status }: RecordedTry): boolean =>
  status !== null && status >= 200 && status < 300;

/** Its owner has taken it away (Standard Webhooks). */
export const isGone = ({ status_code: status }: RecordedTry): boolean => status === 410;
