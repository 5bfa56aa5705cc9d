// Checks one line of a training file. Native-free: the API runs it on every line of an upload.
import { DomainError } from '@graft/contracts';
import { scanJson, shown } from './json-scan.js';
import { recordTasks } from '../tasks/registry.js';
import type { RecordFacts, Task } from '../tasks/task.js';

export const MAX_LINE_BYTES = 1_048_576;
export const LIMITS = { depth: 16, keys: 64, items: 65_536 };

export type JsonObject = { readonly [key: string]: unknown };

/**
 * Says what is wrong with a line of a training file for `task`, or null. The reason does not repeat the line's
 * number; `number` (from 1) only tells the first line, where a byte order mark may stand.
 * @throws DomainError when the task is unknown.
 */
export function checkRecord(line: string, number: number, task: string): string | null {
  const checked = parseLine(line, number);
  if (typeof checked === 'string') return checked;
  return taskOf(task).check(checked);
}

/** A line that can be learnt from, and what is worth counting of it, or the reason as `checkRecord` gives it. */
export function readRecord(line: string, number: number, task: string): RecordFacts | string {
  const checked = parseLine(line, number);
  if (typeof checked === 'string') return checked;
  const found = taskOf(task);
  return found.check(checked) ?? found.facts(checked);
}

/**
 * Parses a line that has passed `checkRecord`.
 * @throws DomainError `invalid_training_file` naming the line and the reason.
 */
export function parseRecord(
  line: string,
  number: number,
  task: string,
  param = 'training_file',
): JsonObject {
  const checked = parseLine(line, number);
  const reason = typeof checked === 'string' ? checked : taskOf(task).check(checked);
  if (reason !== null) {
    throw new DomainError('invalid_training_file', `line ${number}: ${reason}`, param);
  }
  return checked as JsonObject;
}

/** What is worth counting of a record that `parseRecord` returned. */
export function recordFacts(record: JsonObject, task: string): RecordFacts {
  return taskOf(task).facts(record);
}

function taskOf(name: string): Task {
  const task = recordTasks.get(name);
  if (task) return task;
  const known = [...recordTasks.keys()].join(', ');
  throw new DomainError(
    'invalid_value',
    `task ${shown(name)} is unknown; there are: ${known}`,
    'graft.task',
  );
}

/** The object that JSON text stands for, whatever its keys, or the reason why there is none. */
export function readJsonObject(text: string, keys = LIMITS.keys): JsonObject | string {
  return parseLine(text, 1, { ...LIMITS, keys });
}

/** The object on a line, or the reason why there is none. */
function parseLine(line: string, number: number, limits = LIMITS): JsonObject | string {
  const text = number === 1 && line.startsWith('\ufeff') ? line.slice(1) : line;
  // a UTF-16 unit is at most 3 bytes of UTF-8: most lines need no exact count
  if (text.length * 3 > MAX_LINE_BYTES && Buffer.byteLength(text) > MAX_LINE_BYTES) {
    return `the line is longer than ${MAX_LINE_BYTES} bytes`;
  }
  if (text.trim() === '') return 'the line is empty';
  const bad = scanJson(text, limits);
  if (bad) return bad;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `not valid JSON: ${error instanceof Error ? withoutText(error.message) : 'unknown error'}`;
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return `a JSON object is wanted, not ${Array.isArray(value) ? 'a list' : shown(value)}`;
  }
  // only an escape, or half a pair in the text itself, makes such a string
  if ((text.includes('\\u') || !text.isWellFormed()) && !wellFormed(value))
    return 'a string holds half of a surrogate pair';
  return value as JsonObject;
}

/** V8 quotes the input in its messages; the reason is logged, so the payload stays out. */
function withoutText(message: string): string {
  return message.replace(/, ?(\.\.\.)?"[\s\S]*$/, '');
}

function wellFormed(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (value === null || typeof value !== 'object') return true;
  return Object.entries(value).every(([key, inner]) => wellFormed(key) && wellFormed(inner));
}
