/** A value as the text of a jsonb column. That can hold neither NUL nor half a surrogate pair: both are left out. */
export const jsonbText = (value: unknown): string => JSON.stringify(value, storable);

function storable(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return storableText(value);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [storableText(name), each]),
  );
}

/** A text as PostgreSQL takes it. */
export const storableText = (text: string): string => text.replaceAll('\0', '').toWellFormed();
