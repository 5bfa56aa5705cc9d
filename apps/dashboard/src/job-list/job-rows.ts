// Rows of the job table: jobs with their exports and merges beneath them, and groups.
import type { JobObject } from '@graft/contracts';
import { kindOf } from '@graft/contracts/job-kinds';
import { resultOf, type Result } from './job-words.js';
import type { Grouping } from './job-query.js';

export interface JobLine {
  readonly kind: 'job';
  readonly key: string;
  readonly job: JobObject;
  /** Whether it is an operation, listed beneath the job that trained its adapter. */
  readonly isNested: boolean;
}

export interface GroupLine {
  readonly kind: 'group';
  readonly key: string;
  /** Value of the group: ID of a sweep, a tag or a base. Empty for jobs without one. */
  readonly value: string;
  /** Name to show, if it is not the value. */
  readonly name: string;
  readonly jobs: readonly JobObject[];
  readonly running: number;
  readonly failed: number;
  readonly best: Result | null;
  readonly isOpen: boolean;
}

export type Line = JobLine | GroupLine;

/** Name of the model without its checkpoint, which is that of the job that trained it. */
const trained = (model: string): string => model.replace(/:ckpt-step-\d+$/, '');

/**
 * Returns each job, followed by the operations on its model: exports, merges and conversions.
 * Operations on models of jobs that are not listed keep their place.
 */
export function nested(jobs: readonly JobObject[], prefix = ''): JobLine[] {
  const sources = new Set(
    jobs.filter((job) => kindOf(job) === 'training').map((job) => job.fine_tuned_model),
  );
  const beneath = new Map<string, JobObject[]>();
  const placed: JobObject[] = [];
  for (const job of jobs) {
    const source = job.graft.operation && trained(job.graft.operation.adapters[0] ?? '');
    if (source && sources.has(source)) beneath.set(source, [...(beneath.get(source) ?? []), job]);
    else placed.push(job);
  }
  const line = (job: JobObject, isNested: boolean): JobLine => ({
    kind: 'job',
    key: `${prefix}${job.id}`,
    job,
    isNested,
  });
  if (beneath.size === 0) return placed.map((job) => line(job, false));
  return placed.flatMap((job) => [
    line(job, false),
    ...(beneath.get(job.fine_tuned_model ?? '') ?? []).map((one) => line(one, true)),
  ]);
}

/** Returns the groups of a job. A job with several tags is in several. */
function valuesOf({ model, graft }: JobObject, by: Grouping): readonly string[] {
  if (by === 'sweep') return [graft.sweep?.id ?? ''];
  if (by === 'tag') return graft.tags.length === 0 ? [''] : graft.tags;
  return [model];
}

/** Returns the name of a trial's sweep, which starts the names of all its trials. */
export function sharedName(names: readonly string[]): string {
  const [first = '', ...rest] = names;
  let end = first.length;
  for (const name of rest) while (!name.startsWith(first.slice(0, end))) end -= 1;
  return first.slice(0, end).replace(/[\s·:,–-]+$/, '');
}

const NAMELESS: Readonly<Record<Grouping, string>> = {
  none: '',
  sweep: 'Single jobs',
  tag: 'No tag',
  model: 'No base',
};

/** Returns the best result of the jobs whose results have the same meaning as the first one's. */
function bestOf(jobs: readonly JobObject[]): Result | null {
  let best: { readonly result: Result; readonly bad: number } | null = null;
  for (const job of jobs) {
    const result = resultOf(job);
    if (!result || result.name === 'train loss') continue;
    const { best: lowest, best_score: score } = job.graft;
    const bad = score ? -score.eval_score : (lowest?.valid_loss ?? Infinity);
    if (!best || (result.name === best.result.name && bad < best.bad)) best = { result, bad };
  }
  return best?.result ?? null;
}

interface Grouped {
  readonly by: Grouping;
  /** Keys of the groups that the user has opened or closed. */
  readonly isOpen: (key: string) => boolean;
  /** Names of sweeps by ID. */
  readonly names: ReadonlyMap<string, string>;
}

/** Returns the rows of the table. Groups are in the order of their first job; nameless ones last. */
export function linesOf(jobs: readonly JobObject[], { by, isOpen, names }: Grouped): Line[] {
  if (by === 'none') return nested(jobs);
  const groups = new Map<string, JobObject[]>();
  for (const job of jobs)
    for (const value of valuesOf(job, by)) {
      const group = groups.get(value);
      if (group) group.push(job);
      else groups.set(value, [job]);
    }
  const order = [...groups].sort(([a], [b]) => Number(a === '') - Number(b === ''));
  return order.flatMap(([value, members]): Line[] => {
    const key = `${by}:${value}`;
    const name =
      value === ''
        ? NAMELESS[by]
        : (names.get(value) ??
          (by === 'sweep' ? sharedName(members.map(({ graft }) => graft.name)) : value));
    const head: GroupLine = {
      kind: 'group',
      key,
      value,
      name: name || value,
      jobs: members,
      running: members.filter(({ status }) => status === 'running').length,
      failed: members.filter(({ status }) => status === 'failed').length,
      best: bestOf(members),
      isOpen: isOpen(key),
    };
    return head.isOpen ? [head, ...nested(members, `${key}/`)] : [head];
  });
}
