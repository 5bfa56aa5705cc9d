import type { JsonObject } from '../data/records.js';

/** What is worth counting of a record that passed its task's check. */
export interface RecordFacts {
  readonly format: string;
  /** fields of it that no training of this task reads, whatever the base */
  readonly ignored: readonly string[];
  /** what training gets of it, in pieces: two records with the same ones are the same to it */
  readonly identity: readonly string[];
}

/** What a model learns to do, and the records it learns from. */
export interface Task {
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  /** one line of a training file each, as shown to people */
  readonly recordFormats: readonly string[];
  /** Why a record cannot be learnt from, or null. */
  check(record: JsonObject): string | null;
  /** Of a record that passed `check`. */
  facts(record: JsonObject): RecordFacts;
}

/** Gives a task its type. */
export function defineTask(task: Task): Task {
  return task;
}
