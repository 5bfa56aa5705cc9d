/** Formats of records, of all tasks together: which of them a row of a table or a record is in. */
import type { JsonObject } from '../data/json-line.js';
import { mappedFormat, shapeOf as shapeAmong, type Columns, type Shape } from './shapes.js';
import { tasks } from '../tasks/registry.js';
import { likest } from './task-fit.js';
import type { RecordFormat } from '../tasks/task.js';

/** Formats of records, each once. */
const formats: readonly RecordFormat[] = [
  ...new Map(
    tasks.flatMap(({ records }) => records.map((format) => [format.name, format])),
  ).values(),
];

/** Whether an object with these keys shows that it is meant as a record, and not as a row of some other table. */
export const meantAsRecord = (given: readonly string[]): boolean =>
  formats.some(
    ({ keys, commonKeys }) =>
      keys.filter((key) => given.includes(key)).length >= (commonKeys ? 2 : 1),
  );

/** What people call one and several records of a format. */
export const formatNouns = (name: string): readonly [one: string, many: string] =>
  formats.find((format) => format.name === name)?.nouns ?? [name, name];

/** How rows with these keys are read; null where nobody can tell which of them is what. */
export const shapeOf = (keys: readonly string[], columns: Columns = {}): Shape | null =>
  shapeAmong(keys, columns, formats);

/** @throws DomainError where a table's columns are named for fields that make no record together */
export function checkColumns(columns: Columns): void {
  if (Object.keys(columns).length > 0) mappedFormat(columns, formats);
}

/**
 * Why a record cannot be learnt from, or null.
 * @param meant the task of its file; left out, any may learn from it
 */
export function recordProblem(record: JsonObject, meant?: string): string | null {
  const task = tasks.find(({ name }) => name === meant);
  if (task) return task.check(record);
  return tasks.some((one) => one.check(record) === null) ? null : likest(record).check(record);
}
