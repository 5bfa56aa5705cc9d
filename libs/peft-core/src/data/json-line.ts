// Reads the JSON object on one line of a file. Native-free.
import { MAX_LINE_BYTES, MAX_MEDIA_LINE_BYTES } from '@graft/contracts';
import { scanJson, shown } from './json-scan.js';

export const LIMITS = { depth: 16, keys: 64, items: 65_536 };

export type JsonObject = { readonly [key: string]: unknown };

/** Parses JSON text as an object with any keys, or returns the reason why it is not one. */
export function readJsonObject(text: string, keys = LIMITS.keys): JsonObject | string {
  return readLine(text, 1, { ...LIMITS, keys });
}

/** Parses a line as an object, or returns the reason why it is not one. */
export function readLine(line: string, number: number, limits = LIMITS): JsonObject | string {
  const text = number === 1 && line.startsWith('\ufeff') ? line.slice(1) : line;
  const long = tooLong(text);
  if (long !== null) return long;
  if (text.trim() === '') return 'the line is empty';
  const bad = scanJson(text, limits);
  if (bad) return bad;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `not valid JSON: ${error instanceof Error ? withoutText(error.message).toWellFormed() : 'unknown error'}`;
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return `expected a JSON object, got ${Array.isArray(value) ? 'an array' : shown(value)}`;
  }
  // Only an escape, or half a surrogate pair in the text itself, produces such a string.
  if ((text.includes('\\u') || !text.isWellFormed()) && !wellFormed(value))
    return 'a string contains an unpaired surrogate';
  return value as JsonObject;
}

const MEDIA = /"data:(?:image|audio)\/[^"]*"/g;

function tooLong(text: string): string | null {
  // A UTF-16 unit is at most 3 bytes of UTF-8, so most lines need no exact count.
  if (text.length * 3 <= MAX_LINE_BYTES) return null;
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_LINE_BYTES) return null;
  const longer = (most: number): string => `the line is longer than ${most} bytes`;
  if (bytes > MAX_MEDIA_LINE_BYTES) return longer(MAX_MEDIA_LINE_BYTES);
  const media = text.match(MEDIA)?.reduce((sum, one) => sum + Buffer.byteLength(one), 0) ?? 0;
  return bytes - media > MAX_LINE_BYTES ? longer(MAX_LINE_BYTES) : null;
}

/** Removes the input that V8 quotes in its messages. The reason is logged, and the payload must stay out of the log. */
function withoutText(message: string): string {
  return message.replace(/, ?(\.\.\.)?"[\s\S]*$/, '');
}

function wellFormed(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (value === null || typeof value !== 'object') return true;
  return Object.entries(value).every(([key, inner]) => wellFormed(key) && wellFormed(inner));
}
