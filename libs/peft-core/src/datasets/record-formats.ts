/** Record formats of all tasks together. Finds the format of a table row or a record. */
import type { JsonObject } from '../data/json-line.js';
import { mappedFormat, shapeOf as shapeAmong, type Columns, type Shape } from './shapes.js';
import { tasks } from '../tasks/registry.js';
import { likest } from './task-fit.js';
import type { RecordFormat } from '../tasks/task.js';

/** All record formats, without duplicates. */
const formats: readonly RecordFormat[] = [
  ...new Map(
    tasks.flatMap(({ records }) => records.map((format) => [format.name, format])),
  ).values(),
];

/** Whether an object with these keys is meant as a record, and not as a row of another table. */
export const meantAsRecord = (given: readonly string[]): boolean =>
  formats.some(
    ({ keys, commonKeys }) =>
      keys.filter((key) => given.includes(key)).length >= (commonKeys ? 2 : 1),
  );

/** Returns the names for one and for several records of a format, for messages. */
export const formatNouns = (name: string): readonly [one: string, many: string] =>
  formats.find((format) => format.name === name)?.nouns ?? [name, name];

/** Returns how to read rows with these keys; null if their fields cannot be determined. */
export const shapeOf = (keys: readonly string[], columns: Columns = {}): Shape | null =>
  shapeAmong(keys, columns, formats);

/** Checks the column mapping. @throws DomainError if the mapped fields do not form a record */
export function checkColumns(columns: Columns): void {
  if (Object.keys(columns).length > 0) mappedFormat(columns, formats);
}

/**
 * Returns why a record cannot be used for training, or null.
 * @param meant task of its file; if unset, any task may accept the record
 */
export function recordProblem(record: JsonObject, meant?: string): string | null {
  const task = tasks.find(({ name }) => name === meant);
  if (task) return task.check(record);
  return tasks.some((one) => one.check(record) === null) ? null : likest(record).check(record);
}
