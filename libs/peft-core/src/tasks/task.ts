import type { JsonObject } from '../data/records.js';

/** What a model learns to do, and the records it learns from. */
export interface Task {
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  /** one line of a training file each, as shown to people */
  readonly recordFormats: readonly string[];
  /** Why a record cannot be learnt from, or null. */
  check(record: JsonObject): string | null;
}

/** Gives a task its type. */
export function defineTask(task: Task): Task {
  return task;
}
