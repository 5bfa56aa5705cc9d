// Checks the task ids in records, for methods with a prompt for each task.
import { TASK_IDS } from '../tasks/records/supervised-records.js';
import type { JsonObject } from '../data/json-line.js';

/**
 * Returns why a record's `task_ids` is invalid for this number of tasks, or null.
 * @param tasks number of tasks of the job's method; null if it has none, and then the field is not read
 */
export function taskIdProblem(record: JsonObject, tasks: number | null): string | null {
  if (tasks === null) return null;
  const ids = record[TASK_IDS] as number | undefined;
  const among =
    tasks === 1 ? '0, as there is 1 task' : `0 to ${tasks - 1}, as there are ${tasks} tasks`;
  if (ids === undefined)
    return tasks === 1 ? null : `"${TASK_IDS}" is missing: which task the record is of, ${among}`;
  return ids < tasks ? null : `"${TASK_IDS}" is ${ids}, expected ${among}`;
}
