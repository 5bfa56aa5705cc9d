import { DomainError } from '@graft/contracts';
import { shown } from '../../data/json-scan.js';
import type { JsonObject } from '../../data/json-line.js';
import type { Encoded } from '../task.js';

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Returns an error for a record that has none of a task's formats. */
export function missingFormat(record: JsonObject, formats: string): string {
  const keys = Object.keys(record).slice(0, 4).map(shown).join(', ');
  return `a record must be ${formats}; this one has ${keys === '' ? 'no keys' : `the keys ${keys}`}`;
}

export function unknownKey(record: JsonObject, known: readonly string[]): string | null {
  const unknown = Object.keys(record).find((key) => !known.includes(key));
  return unknown === undefined
    ? null
    : `unknown key ${shown(unknown)}; supported: ${known.join(', ')}`;
}

/** Returns why a text cannot be used for training, or null. */
export function checkText(key: string, value: unknown): string | null {
  if (value === undefined) return `"${key}" is missing`;
  if (typeof value !== 'string') return `"${key}" must be a string`;
  return value === '' ? `"${key}" is empty: there is nothing to learn` : null;
}

/** @throws DomainError that names the first input of a request that cannot be decoded */
export function refuseProblems(inputs: readonly Pick<Encoded, 'problem'>[]): void {
  for (const [i, { problem }] of inputs.entries())
    if (problem) throw new DomainError('invalid_value', `input ${i}: ${problem}`, `input.${i}`);
}
