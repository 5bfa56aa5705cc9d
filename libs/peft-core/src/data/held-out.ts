// Which records of a training file are held out for validation: a function of its records, the share and the seed alone,
// so that a run that resumes, and whoever looks at the data before it, find the same ones. Records of which training
// gets the same stand on one side: else the validation loss would praise what was learnt by heart. A rule never changes:
// a run that resumes on another build must hold out the same records.
import { createHash } from 'node:crypto';
import { DomainError, type Spec } from '@graft/contracts';
import { areMeasures } from '../tasks/label-survey.js';
import type { RecordFacts, Task } from '../tasks/task.js';
import { TASK_IDS } from '../tasks/supervised-records.js';
import { readLines } from './lines.js';
import { parseRecord, withMore, type JsonObject } from './records.js';
import { taskIdProblem } from './task-ids.js';

export interface Split {
  /** Of the records, above 0 and below 1. */
  readonly share: number;
  readonly seed: number;
  /** Whether each label is held out in the proportion that it has in the file; left out: labels are not looked at. */
  readonly stratified?: true;
}

export interface RecordUse {
  readonly task: Pick<Task, 'check' | 'facts' | 'inputs'>;
  /** How many tasks the method's prompts are by; null: by none. */
  readonly tasks: number | null;
}

/** What a job asks for; null: nothing is held out. */
export const splitOf = ({
  validation_split: share,
  stratify_by_column: column,
  split_seed,
  seed,
}: Spec): Split | null =>
  share ? { share, seed: split_seed ?? seed, ...(column && { stratified: true }) } : null;

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
export function heldOut(path: string, use: RecordUse, split: Split): Set<number> {
  const { hashes, labels } = read(path, use, split);
  const order = sorted(hashes);
  const ranks = labels && ranksByLabel(order, hashes, labels);
  const groups = groupsIn(ranks ? sorted(hashes, ranks) : order, hashes);
  const wanted = heldOutCount(order.length, split.share);
  const held = new Set<number>();
  let least: Uint32Array | null = null;
  for (const group of groups) {
    // The last group of a label is learnt from, whatever the share.
    if (held.size >= wanted || ranks?.[group[0] as number] === Infinity) break;
    if (group.length < (least?.length ?? order.length)) least = group;
    if (held.size + group.length <= wanted) group.forEach((place) => held.add(place));
  }
  // fewer than the smallest group were wanted
  if (held.size === 0) least?.forEach((place) => held.add(place));
  if (held.size > 0 || order.length === 0) return held;
  const message = `expected at least two records that differ, to hold one out; the training file has ${order.length === 1 ? 'one record' : `${order.length} times the same`}`;
  throw new DomainError('invalid_training_file', message, 'graft.validation_split');
}

/** Of each record its hash and, where the split goes by them, its label. */
interface Read {
  readonly hashes: readonly number[];
  /** Null where the split does not go by labels, a record has none or several, or they are measures. */
  readonly labels: readonly string[] | null;
}

function read(path: string, use: RecordUse, { seed, stratified }: Split): Read {
  const checks = withMore(use.task, (record) => taskIdProblem(record, use.tasks));
  const [hashes, labels]: [number[], string[]] = [[], []];
  for (const { number, line } of readLines(path)) {
    if (line.trim() === '') continue;
    const { identity, label } = factsOf(parseRecord(line, number, checks), use);
    // by the seed it is a random order, in which equal records are neighbours
    hashes.push(hashOf([String(seed), ...identity]));
    if (stratified && label !== undefined) labels.push(label);
  }
  const isByLabel = stratified && labels.length === hashes.length && !areMeasures(labels);
  return { hashes, labels: isByLabel ? labels : null };
}

/** Places by rank, of equal ranks by hash. */
function sorted(hashes: readonly number[], ranks: Float64Array | null = null): Uint32Array {
  const hash = (place: number): number => hashes[place] as number;
  const rank = (place: number): number => ranks?.[place] ?? 0;
  // Infinity less itself is no number
  const byRank = (a: number, b: number): number => (rank(a) === rank(b) ? 0 : rank(a) - rank(b));
  return Uint32Array.from(hashes.keys()).sort((a, b) => byRank(a, b) || hash(a) - hash(b) || a - b);
}

/** Neighbours of which training gets the same. */
function* groupsIn(order: Uint32Array, hashes: readonly number[]): Generator<Uint32Array> {
  for (let from = 0, to = 0; from < order.length; from = to) {
    const hash = hashes[order[from] as number];
    while (to < order.length && hashes[order[to] as number] === hash) to++;
    yield order.subarray(from, to);
  }
}

/**
 * A rank for each record by which any first part of them has each label in its proportion (Sainte-Laguë's rule): that of
 * the k-th of n records of a label is (k - ½) / n, of equal records the middle. The last group of a label is never held
 * out: Infinity.
 * @returns null where no label has two records that differ: then labels cannot be gone by
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
