// Checks one line of a training file. Native-free: the API runs it on every line of an upload.
import { DomainError, MAX_LINE_BYTES } from '@graft/contracts';
import { readLine } from '../data/json-line.js';
import type { JsonObject } from '../data/json-line.js';
import type { Task } from '../tasks/task.js';

type Checks = Pick<Task, 'check' | 'inputs'>;

/** Adds a method's requirements to a task's check of records. @param more returns a reason or null */
export const withMore = (task: Checks, more: (record: JsonObject) => string | null): Checks => ({
  ...task,
  check: (record) => task.check(record) ?? more(record),
});

/**
 * Parses the record on a line.
 * @throws DomainError `invalid_training_file` that names the line and the reason
 */
export function parseRecord(
  line: string,
  number: number,
  task: Checks,
  param = 'training_file',
): JsonObject {
  const record = checkedRecord(line, number, task);
  if (typeof record !== 'string') return record;
  throw new DomainError('invalid_training_file', `line ${number}: ${record}`, param);
}

/**
 * Parses the record on a line, or returns why it cannot be used for training. The reason does not repeat the line
 * number. `number` (from 1) only identifies the first line, which may have a byte order mark.
 */
export function checkedRecord(line: string, number: number, task: Checks): JsonObject | string {
  const record = readLine(line, number);
  if (typeof record === 'string') return record;
  // A UTF-16 unit is at most 3 bytes of UTF-8, so most lines need no exact count.
  const bytes = line.length * 3 <= MAX_LINE_BYTES ? 0 : Buffer.byteLength(line);
  return taskProblem(task, record, bytes) ?? record;
}

/**
 * Returns why a task cannot use the record of a line, or null. The higher size limit of images and audio does not apply
 * to text that only looks like media.
 */
export const taskProblem = (task: Checks, record: JsonObject, bytes: number): string | null =>
  task.check(record) ??
  (bytes > MAX_LINE_BYTES && (task.inputs ?? 'tokens') === 'tokens'
    ? `the line is longer than ${MAX_LINE_BYTES} bytes`
    : null);
