/**
 * Matches NUL and lone surrogates as JSON.stringify escapes them. It may also match a text that contains a backslash.
 */
const MAYBE_NOT_STORABLE = /\\u(?:0000|d[89a-f])/;

/**
 * Returns a value as text for a jsonb column, without NUL and lone surrogates, which PostgreSQL rejects. They are
 * rare, and a replacer makes JSON.stringify several times slower, so it is only used if needed.
 */
export function jsonbText(value: unknown): string {
  const text = JSON.stringify(value);
  return MAYBE_NOT_STORABLE.test(text) ? JSON.stringify(value, storable) : text;
}

function storable(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [storableText(name), each]),
  );
}

/** Removes characters that PostgreSQL cannot store. */
export const storableText = (text: string): string => text.replaceAll('\0', '').toWellFormed();

/**
 * Joins many jsonb values into one parameter for jsonb_array_elements. In a jsonb[] parameter each quote would need a
 * backslash, which takes longer than the text itself.
 */
export const jsonbArray = (texts: readonly string[]): string => `[${texts.join(',')}]`;
