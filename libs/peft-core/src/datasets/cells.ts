// Converts table cells to record values. CSV has text only, but a field may be a list, a boolean or a number.
import type { CellKind } from '../tasks/task.js';
import { scanJson, shown } from '../data/json-scan.js';
import { LIMITS, type JsonObject } from '../data/json-line.js';

/** Value of a cell, or the reason why it has none. */
export type Cell = { readonly value: unknown } | string;

/** Converts a cell to the kind of its field. @param column the column's name, for messages */
export function readCell(cell: unknown, kind: CellKind, column: string): Cell {
  if (kind === 'text') return { value: textOf(cell) ?? cell };
  if (kind === 'boolean') return { value: BOOLEANS.get(String(cell)) ?? cell };
  if (typeof cell === 'object') return { value: withoutNulls(cell) };
  if (kind === 'text_or_messages' && typeof cell !== 'string') return { value: textOf(cell) };
  if (typeof cell !== 'string') return { value: cell };
  if (kind === 'integer') return { value: numberOf(cell) };
  if (kind === 'json') return jsonOf(cell, column);
  const read = cell.trimStart().startsWith('[') ? jsonOf(cell, column) : cell;
  const list = typeof read === 'string' || !Array.isArray(read.value) ? [] : read.value;
  const isOne = kind === 'label' ? isName : isMessage;
  return { value: list.length > 0 && list.every(isOne) ? list.map(stripped) : cell };
}

/** Returns a cell as text. An empty cell is the empty string; null if the cell is not text. */
export function textOf(value: unknown): string | null {
  if (value == null) return '';
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['1', true],
  ['0', false],
]);

const isName = (one: unknown): boolean => typeof one === 'string' || typeof one === 'number';

const isMessage = (one: unknown): boolean =>
  typeof one === 'object' && one !== null && Object.hasOwn(one, 'role');

const numberOf = (text: string): unknown =>
  text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;

function jsonOf(text: string, column: string): Cell {
  if (text === '') return { value: null };
  const bad = scanJson(text, LIMITS);
  if (bad) return `${shown(column)} contains invalid JSON: ${bad}`;
  try {
    return { value: withoutNulls(JSON.parse(text)) };
  } catch {
    return `${shown(column)} must be a list or an object in JSON; got ${shown(text)}`;
  }
}

/**
 * Returns a cell's messages, or the object that has them, without null fields: a table has a null for each missing
 * field.
 */
function withoutNulls(cell: unknown): unknown {
  if (Array.isArray(cell)) return (cell as unknown[]).map(stripped);
  const object = stripped(cell);
  if (object === null || typeof object !== 'object') return object;
  const entries = Object.entries(object).map(([key, value]) => [
    key,
    Array.isArray(value) ? (value as unknown[]).map(stripped) : (value as unknown),
  ]);
  return Object.fromEntries(entries);
}

const stripped = (value: unknown): unknown =>
  value === null || typeof value !== 'object' || Array.isArray(value)
    ? value
    : Object.fromEntries(Object.entries(value as JsonObject).filter(([, inner]) => inner !== null));
