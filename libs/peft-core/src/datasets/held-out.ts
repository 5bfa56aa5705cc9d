// Chooses the records of a training file that are held out for validation. The choice depends only on the
// records, the share, the seed and whether it is stratified, so a resumed run and the API's preview choose
// the same ones. Records that give the same training example stay together; otherwise the validation loss
// would include memorized examples. These rules must not change: a run that resumes on another build has to
// hold out the same records.
import { createHash } from 'node:crypto';
import { DomainError, type Spec } from '@graft/contracts';
import { areMeasures } from '../tasks/labels/label-survey.js';
import type { RecordFacts, Task } from '../tasks/task.js';
import { TASK_IDS } from '../tasks/records/supervised-records.js';
import { readLines } from './lines.js';
import { parseRecord, withMore } from './records.js';
import { type JsonObject } from '../data/json-line.js';
import { taskIdProblem } from './task-ids.js';

export interface Split {
  /** Share of the records, above 0 and below 1. */
  readonly share: number;
  readonly seed: number;
  /** Whether each label keeps its proportion in the file. If unset, labels are ignored. */
  readonly stratified?: true;
}

export interface RecordUse {
  readonly task: Pick<Task, 'check' | 'facts' | 'inputs'>;
  /** Number of tasks that the method has prompts for; null if it has none. */
  readonly tasks: number | null;
}

/** Returns the split that a job requests; null if nothing is held out. */
export const splitOf = ({
  validation_split: share,
  stratify_by_column: column,
  split_seed,
  seed,
}: Spec): Split | null =>
  share ? { share, seed: split_seed ?? seed, ...(column && { stratified: true }) } : null;

/**
 * Returns the number of records in a share. The actual number may differ by a few, because equal records stay
 * together.
 */
export const heldOutCount = (records: number, share: number): number =>
  Math.min(Math.max(1, Math.round(records * share)), Math.max(0, records - 1));

/** Returns the facts of a record. Its task id is part of its identity if the method has prompts for tasks. */
export function factsOf(record: JsonObject, { task, tasks }: RecordUse): RecordFacts {
  const facts = task.facts(record);
  if (tasks === null || record[TASK_IDS] === undefined) return facts;
  return {
    ...facts,
    ignored: facts.ignored.filter((field) => field !== TASK_IDS),
    identity: [...facts.identity, TASK_IDS, String(record[TASK_IDS])],
  };
}

/** Returns a hash of 48 bits. Records that give the same training example have the same hash. */
export const hashOf = (identity: readonly string[]): number =>
  createHash('sha1').update(JSON.stringify(identity)).digest().readUIntBE(0, 6);

/**
 * Returns the indices of the held-out records, from 0, not counting blank lines.
 * @throws DomainError if a line is not a record of the task, or if nothing can be held out
 */
export function heldOut(path: string, use: RecordUse, split: Split): Set<number> {
  const { hashes, labels } = read(path, use, split);
  const order = sorted(hashes);
  const ranks = labels && ranksByLabel(order, hashes, labels);
  const groups = groupsIn(ranks ? sorted(hashes, ranks) : order, hashes);
  const wanted = heldOutCount(order.length, split.share);
  const held = new Set<number>();
  let least: Uint32Array | null = null;
  for (const group of groups) {
    // The last group of a label stays in the training data, regardless of the share.
    if (held.size >= wanted || ranks?.[group[0] as number] === Infinity) break;
    if (group.length < (least?.length ?? order.length)) least = group;
    if (held.size + group.length <= wanted) group.forEach((place) => held.add(place));
  }
  // Every group is larger than the share, so the smallest one is held out.
  if (held.size === 0) least?.forEach((place) => held.add(place));
  if (held.size > 0 || order.length === 0) return held;
  const message = `expected at least two records that differ, to hold one out; the training file has ${order.length === 1 ? 'one record' : `${order.length} times the same`}`;
  throw new DomainError('invalid_training_file', message, 'graft.validation_split');
}

/** The hash of each record and, for a stratified split, its label. */
interface Read {
  readonly hashes: readonly number[];
  /**
   * Null if the split is not stratified, if a record has no label or several, or if labels are numbers to
   * predict.
   */
  readonly labels: readonly string[] | null;
}

function read(path: string, use: RecordUse, { seed, stratified }: Split): Read {
  const checks = withMore(use.task, (record) => taskIdProblem(record, use.tasks));
  const [hashes, labels]: [number[], string[]] = [[], []];
  for (const { number, line } of readLines(path)) {
    if (line.trim() === '') continue;
    const { identity, label } = factsOf(parseRecord(line, number, checks), use);
    // Sorting by a hash with the seed gives a random order in which equal records are neighbours.
    hashes.push(hashOf([String(seed), ...identity]));
    if (stratified && label !== undefined) labels.push(label);
  }
  const isByLabel = stratified && labels.length === hashes.length && !areMeasures(labels);
  return { hashes, labels: isByLabel ? labels : null };
}

/** Indices of the records, sorted by rank and then by hash. */
function sorted(hashes: readonly number[], ranks: Float64Array | null = null): Uint32Array {
  const hash = (place: number): number => hashes[place] as number;
  const rank = (place: number): number => ranks?.[place] ?? 0;
  // Infinity minus Infinity is NaN, so equal ranks are compared first.
  const byRank = (a: number, b: number): number => (rank(a) === rank(b) ? 0 : rank(a) - rank(b));
  return Uint32Array.from(hashes.keys()).sort((a, b) => byRank(a, b) || hash(a) - hash(b) || a - b);
}

/** Groups of neighbours with the same hash. */
function* groupsIn(order: Uint32Array, hashes: readonly number[]): Generator<Uint32Array> {
  for (let from = 0, to = 0; from < order.length; from = to) {
    const hash = hashes[order[from] as number];
    while (to < order.length && hashes[order[to] as number] === hash) to++;
    yield order.subarray(from, to);
  }
}

/**
 * Ranks records so that every prefix of the sorted records has each label in its proportion (Sainte-Laguë's
 * method). The k-th of n records of a label has rank (k - ½) / n; equal records share the middle of theirs.
 * The last group of a label has rank Infinity, because it is never held out.
 * @returns null if no label has two different records, so that the split cannot be stratified
 */
function ranksByLabel(
  order: Uint32Array,
  hashes: readonly number[],
  labels: readonly string[],
): Float64Array | null {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const seen = new Map<string, number>();
  const ranks = new Float64Array(hashes.length);
  for (const group of groupsIn(order, hashes)) {
    const label = labels[group[0] as number] as string;
    const [before, all] = [seen.get(label) ?? 0, counts.get(label) as number];
    const isLast = before + group.length === all;
    const rank = isLast ? Infinity : (before + group.length / 2) / all;
    group.forEach((place) => (ranks[place] = rank));
    seen.set(label, before + group.length);
  }
  return ranks.every((rank) => rank === Infinity) ? null : ranks;
}
