import { duration } from '../duration.js';
import type { JobGraft } from './job-objects.js';

type Place = Partial<
  Pick<JobGraft, 'queue_position' | 'queue_length' | 'estimated_start' | 'estimated_start_range'>
>;

/** Shorter forecasts are only noise. */
const SOON_SECONDS = 2;

/**
 * Returns `3rd of 12, starts in about 4 min (2 min to 8 min)`, or `3rd of 12, starts within 8 min` if it may
 * start immediately; an empty string if the job is not queued.
 */
export function placeText(graft: Place, now = Date.now() / 1000): string {
  const { queue_position: position, queue_length: length } = graft;
  if (!position || !length) return '';
  const place = `${ordinal(position)} of ${length}`;
  const { estimated_start: start, estimated_start_range: range } = graft;
  if (!start) return `${place}, no start forecast yet`;
  if (start - now < SOON_SECONDS) return `${place}, starts right away`;
  const wait = (at: number): string => duration(at - now);
  if (range && range[0] - now < SOON_SECONDS)
    return `${place}, starts within ${wait(Math.max(start, range[1]))}`;
  const between = range ? ` (${wait(range[0])} to ${wait(range[1])})` : '';
  return `${place}, starts in about ${wait(start)}${between}`;
}

/** Returns "3rd". */
export function ordinal(n: number): string {
  const isTeen = n % 100 >= 11 && n % 100 <= 13;
  return `${n}${isTeen ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th')}`;
}
