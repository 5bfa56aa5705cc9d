/** How JSON.stringify writes NUL and half a surrogate pair. A text that contains a backslash itself may match as well. */
const MAYBE_NOT_STORABLE = /\\u(?:0000|d[89a-f])/;

/**
 * A value as the text of a jsonb column, without NUL and halves of surrogate pairs, which PostgreSQL refuses. Nearly no
 * value has any, and a replacer makes JSON.stringify several times slower: it runs only where the text needs it.
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

/** A text as PostgreSQL takes it. */
export const storableText = (text: string): string => text.replaceAll('\0', '').toWellFormed();

/**
 * One parameter of many jsonb values, for jsonb_array_elements. As an element of a jsonb[] parameter, each quote of the
 * text would need a backslash, which costs more time than the text itself.
 */
export const jsonbArray = (texts: readonly string[]): string => `[${texts.join(',')}]`;
