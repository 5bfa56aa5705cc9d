import { createHash, randomBytes } from 'node:crypto';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Returns `length` random base-62 characters. 22 characters have 131 bits. */
export function randomText(length = 22): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length * 2)) {
      // 248 = 4 × 62. Higher bytes would favor the first letters.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62];
    }
  }
  return text;
}

export const newId = (prefix: string): string => `${prefix}${randomText()}`;

export const sha256 = (data: string | Buffer): string =>
  createHash('sha256').update(data).digest('hex');

/** Returns the public id of a job event: the job's id without its prefix, and the event's number. */
export const eventId = (jobId: string, number: number): string =>
  `ftevent-${jobId.slice('ftjob-'.length)}-${number}`;

export function eventNumber(id: string): number | null {
  const number = Number(/-(\d{1,9})$/.exec(id)?.[1] ?? NaN);
  return Number.isInteger(number) ? number : null;
}

export const unix = (at: Date): number => Math.floor(at.getTime() / 1000);
export const unixOrNull = (at: Date | null): number | null => (at ? unix(at) : null);
