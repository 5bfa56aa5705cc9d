import type { RecordedTry } from '../database/entities/webhooks.js';

/** Time limit of one attempt, from the DNS lookup to the end of the response. */
export const DEADLINE_MS = 15_000;
/** Time for which an event is retried. An endpoint that failed every attempt for this long is disabled. */
export const GIVE_UP_MS = 3 * 24 * 3_600_000;

const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 6 * 3_600_000;

/**
 * Returns the pause before the next attempt, after `tries` failed ones: 5 s, quadrupled each time, at most 6
 * h. It varies by ±25 %, so that the events of an outage are not all retried at the same time. About 18
 * attempts in three days.
 */
export function pauseMs(tries: number, random = Math.random()): number {
  const pause = Math.min(FIRST_PAUSE_MS * 4 ** (tries - 1), LONGEST_PAUSE_MS);
  return Math.round(pause * (0.75 + random / 2));
}

/** Whether the attempt got a 2xx response. The body is ignored. */
export const isOk = ({ status_code: status }: RecordedTry): boolean =>
  status !== null && status >= 200 && status < 300;

/** Whether the receiver has removed the endpoint (410 in Standard Webhooks). */
export const isGone = ({ status_code: status }: RecordedTry): boolean => status === 410;
