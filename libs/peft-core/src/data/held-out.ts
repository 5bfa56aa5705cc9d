// Which records of a training file are held out for validation: a function of its records, the share and the seed alone,
// so that a run that resumes, and whoever looks at the data before it, find the same ones. Records of which training
// gets the same stand on one side: else the validation loss would praise what was learnt by heart.
import { createHash } from 'node:crypto';
import { DomainError, type Spec } from '@graft/contracts';
import type { RecordFacts, Task } from '../tasks/task.js';
import { TASK_IDS } from '../tasks/supervised-records.js';
import { readLines } from './lines.js';
import { parseRecord, withMore, type JsonObject } from './records.js';
import { taskIdProblem } from './task-ids.js';

export interface Split {
  /** Of the records, above 0 and below 1. */
  readonly share: number;
  readonly seed: number;
}

export interface RecordUse {
  readonly task: Pick<Task, 'check' | 'facts' | 'inputs'>;
  /** How many tasks the method's prompts are by; null: by none. */
  readonly tasks: number | null;
}

/** What a job asks for; null: nothing is held out. */
export const splitOf = ({ validation_split: share, seed }: Spec): Split | null =>
  share ? { share, seed } : null;

/** How many of so many records a share is; one of two equal ones may bring the other along, or leave it. */
export const heldOutCount = (records: number, share: number): number =>
  Math.min(Math.max(1, Math.round(records * share)), Math.max(0, records - 1));

/** Where prompts are by task, what task a record is of is read. */
export function factsOf(record: JsonObject, { task, tasks }: RecordUse): RecordFacts {
  const facts = task.facts(record);
  if (tasks === null || record[TASK_IDS] === undefined) return facts;
  return {
    ...facts,
    ignored: facts.ignored.filter((field) => field !== TASK_IDS),
    identity: [...facts.identity, TASK_IDS, String(record[TASK_IDS])],
  };
}

/** 48 bits, the same for records of which training gets the same. */
export const hashOf = (identity: readonly string[]): number =>
  createHash('sha1').update(JSON.stringify(identity)).digest().readUIntBE(0, 6);

/**
 * Places of the records that are held out, counted from 0; blank lines do not count.
 * @throws DomainError where a line is no record of the task, or where nothing can be held out
 */
export function heldOut(path: string, use: RecordUse, { share, seed }: Split): Set<number> {
  const checks = withMore(use.task, (record) => taskIdProblem(record, use.tasks));
  const hashes: number[] = [];
  for (const { number, line } of readLines(path)) {
    if (line.trim() === '') continue;
    const { identity } = factsOf(parseRecord(line, number, checks), use);
    // by the seed it is a random order, in which equal records are neighbours
    hashes.push(hashOf([String(seed), ...identity]));
  }
  const hash = (place: number): number => hashes[place] as number;
  const order = Uint32Array.from(hashes.keys()).sort((a, b) => hash(a) - hash(b) || a - b);
  const wanted = heldOutCount(order.length, share);
  const held = new Set<number>();
  let least: Uint32Array | null = null;
  for (let from = 0, to = 0; from < order.length && held.size < wanted; from = to) {
    while (to < order.length && hash(order[to] as number) === hash(order[from] as number)) to++;
    const group = order.subarray(from, to);
    if (group.length < (least?.length ?? order.length)) least = group;
    if (held.size + group.length <= wanted) group.forEach((place) => held.add(place));
  }
  // fewer than the smallest group were wanted
  if (held.size === 0) least?.forEach((place) => held.add(place));
  if (held.size > 0 || order.length === 0) return held;
  const message = `expected at least two records that differ, to hold one out; the training file has ${order.length === 1 ? 'one record' : `${order.length} times the same`}`;
  throw new DomainError('invalid_training_file', message, 'graft.validation_split');
}
