// Checks one line of a training file. Native-free: the API runs it on every line of an upload.
import { DomainError, MAX_LINE_BYTES } from '@graft/contracts';
import { readLine } from '../data/json-line.js';
import type { JsonObject } from '../data/json-line.js';
import type { Task } from '../tasks/task.js';

type Checks = Pick<Task, 'check' | 'inputs'>;

/** A task's check of records, with what a job's method asks of them. @param more a reason, or null */
export const withMore = (task: Checks, more: (record: JsonObject) => string | null): Checks => ({
  ...task,
  check: (record) => task.check(record) ?? more(record),
});

/**
 * The record on a line.
 * @throws DomainError `invalid_training_file` naming the line and the reason.
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
 * The record on a line, or why it cannot be learnt from. The reason does not repeat the line's number; `number` (from
 * 1) only tells the first line, where a byte order mark may stand.
 */
export function checkedRecord(line: string, number: number, task: Checks): JsonObject | string {
  const record = readLine(line, number);
  if (typeof record === 'string') return record;
  // a UTF-16 unit is at most 3 bytes of UTF-8: most lines need no exact count
  const bytes = line.length * 3 <= MAX_LINE_BYTES ? 0 : Buffer.byteLength(line);
  return taskProblem(task, record, bytes) ?? record;
}

/** Why a task cannot learn from the record of a line, or null. A text that looks like a picture has no room of one. */
export const taskProblem = (task: Checks, record: JsonObject, bytes: number): string | null =>
  task.check(record) ??
  (bytes > MAX_LINE_BYTES && (task.inputs ?? 'tokens') === 'tokens'
    ? `the line is longer than ${MAX_LINE_BYTES} bytes`
    : null);
