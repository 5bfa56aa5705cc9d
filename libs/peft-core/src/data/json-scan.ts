// Scans JSON text before JSON.parse: checks nesting, key counts, duplicate keys (parsers disagree on them) and keys
// that programs mishandle (__proto__). Linear in the text, no recursion.

export interface ScanLimits {
  /** Maximum nesting of objects and arrays; the outermost counts as 1. */
  readonly depth: number;
  /** Maximum number of keys of one object. */
  readonly keys: number;
  /** Maximum number of objects, arrays, keys and list items in total. */
  readonly items: number;
}

const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);
const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c];
const [OPEN_OBJECT, OPEN_ARRAY, CLOSE_OBJECT, CLOSE_ARRAY] = [0x7b, 0x5b, 0x7d, 0x5d];

/** Returns why the text must not be parsed, or null. Text that is not JSON may pass; the parser reports that. */
export function scanJson(text: string, limits: ScanLimits): string | null {
  /** One entry per level: the keys of an object, or null for an array. */
  const levels: (Set<string> | null)[] = [];
  let items = 0;
  let string: [from: number, to: number] | null = null;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      const from = i + 1;
      i = endOfString(text, from);
      string = [from, i];
    } else if (c === OPEN_OBJECT || c === OPEN_ARRAY) {
      if (levels.length === limits.depth) return `nested more than ${limits.depth} levels deep`;
      levels.push(c === OPEN_OBJECT ? new Set() : null);
      items++;
    } else if (c === CLOSE_OBJECT || c === CLOSE_ARRAY) {
      levels.pop();
    } else if (c === COMMA) {
      items++;
    } else if (c === COLON && string) {
      const bad = addKey(levels.at(-1), text.slice(...string), limits.keys);
      if (bad) return bad;
    }
    if (items > limits.items) return `more than ${limits.items} items`;
  }
  return null;
}

/** Returns the index of the closing quote, or the text's length. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (at - backslashes > from && text.charCodeAt(at - backslashes - 1) === BACKSLASH)
      backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  return text.length;
}

function addKey(keys: Set<string> | null | undefined, raw: string, limit: number): string | null {
  if (!keys) return null;
  const key = unescape(raw);
  if (FORBIDDEN.has(key)) return `the key ${JSON.stringify(key)} is not allowed`;
  if (keys.has(key)) return `duplicate key ${shown(key)}`;
  if (keys.size === limit) return `more than ${limit} keys in one object`;
  keys.add(key);
  return null;
}

function unescape(raw: string): string {
  if (!raw.includes('\\')) return raw;
  try {
    return String(JSON.parse(`"${raw}"`));
  } catch {
    // This is not a string literal; JSON.parse of the whole text reports it.
    return raw;
  }
}

/** Formats a value for a message: quoted, at most 40 characters. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  // Half a surrogate pair is not a character.
  return text.length <= 42 ? text : `${text.slice(0, 40).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
