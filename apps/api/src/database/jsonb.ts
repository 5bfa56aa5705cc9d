/** A value as the text of a jsonb column. That can hold neither NUL nor half a surrogate pair: both are left out. */
export const jsonbText = (value: unknown): string => JSON.stringify(value, storable);

function storable(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return plain(value);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [plain(name), each]));
}

const plain = (text: string): string => text.replaceAll('\0', '').toWellFormed();
