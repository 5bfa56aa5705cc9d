/** JSON as Python's `json.dumps(value, indent=2, sort_keys=True)` writes it: ASCII, keys in order at every level. */
export function pythonJson(
  value: unknown,
  isFloat: (key: string) => boolean = () => false,
): string {
  return write(value, '', isFloat, false);
}

function write(
  value: unknown,
  indent: string,
  isFloat: (key: string) => boolean,
  float: boolean,
): string {
  if (typeof value === 'number')
    return float && Number.isInteger(value) ? `${value}.0` : JSON.stringify(value);
  if (value === null || typeof value !== 'object') return ascii(JSON.stringify(value ?? null));
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return `[\n${value.map((item) => inner + write(item, inner, isFloat, float)).join(',\n')}\n${indent}]`;
  }
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (entries.length === 0) return '{}';
  const lines = entries.map(([key, item]) => {
    return `${inner}${ascii(JSON.stringify(key))}: ${write(item, inner, isFloat, isFloat(key))}`;
  });
  return `{\n${lines.join(',\n')}\n${indent}}`;
}

function ascii(json: string): string {
  return json.replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
