// Labels of records: names, ids and their fields in config.json.
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { shown } from '../../data/json-scan.js';
import type { JsonObject } from '../../data/json-line.js';

export const MOST_LABELS = 4096;

/** Task option with the names of the labels. */
export const labelNames = z
  .array(z.string().min(1).max(200))
  .min(1)
  .max(MOST_LABELS)
  .refine((names) => new Set(names).size === names.length, 'a name is listed twice')
  .nullable()
  .default(null)
  .describe(
    'Names of the labels in the order of their ids; default: the labels of the training file',
  );

export type Label = string | number | boolean;

export const isLabel = (value: unknown): value is Label =>
  (typeof value === 'string' && value !== '' && value.length <= 200) ||
  (typeof value === 'number' && Number.isFinite(value)) ||
  typeof value === 'boolean';

/** Returns the label for a record's facts. Empty if the record has a list of labels. */
export const labelFact = (label: unknown): { readonly label?: string } =>
  isLabel(label) ? { label: String(label) } : {};

const WHOLE = /^-?\d{1,15}$/;

/**
 * Sorts integers by value and other names by code units, so that the order of the records does not matter.
 */
export function inOrder(names: Iterable<string>): string[] {
  const all = [...names];
  const isWhole = all.every((name) => WHOLE.test(name));
  return all.sort((a, b) => (isWhole ? Number(a) - Number(b) : a < b ? -1 : 1));
}

const numbers = new WeakMap<readonly string[], ReadonlyMap<string, number>>();

/**
 * Returns the id of a label: the id of its name or, for an integer that is not a name, the integer itself.
 */
function placeAmong(label: Label, names: readonly string[]): number | undefined {
  let known = numbers.get(names);
  if (!known) numbers.set(names, (known = new Map(names.map((name, i) => [name, i]))));
  const found = known.get(String(label));
  if (found !== undefined) return found;
  const isPlace = typeof label === 'number' && Number.isInteger(label) && label >= 0;
  return isPlace && label < names.length ? label : undefined;
}

export const isAmong = (label: Label, names: readonly string[]): boolean =>
  placeAmong(label, names) !== undefined;

/** Returns the id of a label. @throws DomainError for an unknown label */
export function numberOf(label: Label, names: readonly string[]): number {
  const found = placeAmong(label, names);
  if (found !== undefined) return found;
  throw new DomainError('invalid_value', notAmong(label, names));
}

export function notAmong(label: Label, names: readonly string[]): string {
  const some = names.slice(0, 10).map(shown).join(', ');
  const more = names.length > 10 ? `, … (${names.length} in total)` : '';
  return `the label ${shown(label)} is not one of ${some}${more}`;
}

/** Returns Transformers' fields for labels in config.json. */
export const labelConfig = (names: readonly string[]): JsonObject => ({
  id2label: Object.fromEntries(names.map((name, i) => [String(i), name])),
  label2id: Object.fromEntries(names.map((name, i) => [name, i])),
});
