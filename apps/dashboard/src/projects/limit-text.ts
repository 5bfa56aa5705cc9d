// Describes a project's limits and usage in words.
import type { LimitsObject, ProjectLimits } from '@graft/contracts';
import { bytes, count } from '../format.js';

export type Limit = LimitsObject['data'][number];

export const LIMIT_NAMES: Readonly<Record<keyof ProjectLimits, string>> = {
  running_jobs: 'Running jobs',
  queued_jobs: 'Queued jobs',
  chats: 'Concurrent chats',
  eval_runs: 'Eval runs',
  tokens_per_day: 'Tokens per day',
  storage_bytes: 'Storage',
  priority: 'Highest priority',
};

/** Formats a value of a limit: "9.8 GB" or "1,200". */
export const figure = (name: keyof ProjectLimits, value: number): string =>
  name === 'storage_bytes' ? bytes(value) : count(value);

/** Fraction of a limit from which it is mentioned. */
const NEAR = 0.8;

const isNear = ({ limit, used }: Limit): boolean => limit !== null && used >= NEAR * limit;

/** Describes what a limit means for a new job if it is reached or nearly reached. Null otherwise. */
export function limitWarning(
  of: Limit,
): { readonly refuses: boolean; readonly text: string } | null {
  const { name, limit, used } = of;
  if (limit === null || !isNear(of)) return null;
  const full = used >= limit;
  const [has, most] = [figure(name, used), figure(name, limit)];
  if (name === 'queued_jobs')
    return {
      refuses: full,
      text: `${has} queued ${used === 1 ? 'job' : 'jobs'} in this project (limit ${most})${full ? '; new jobs are rejected until one has started.' : '.'}`,
    };
  if (name === 'tokens_per_day')
    return {
      refuses: full,
      text: `${has} tokens used today in this project (limit ${most})${full ? `; new jobs are rejected until ${resetTime(of)}.` : '.'}`,
    };
  if (name === 'storage_bytes')
    return {
      refuses: false,
      text: `${has} stored in this project (limit ${most}). Above it, files and checkpoints are not stored; delete what you do not need.`,
    };
  if (name === 'running_jobs' && full)
    return {
      refuses: false,
      text: `${has} running ${used === 1 ? 'job' : 'jobs'} in this project (limit ${most}); this job waits until one has ended.`,
    };
  return null;
}

/** Returns "00:00 UTC". */
export const resetTime = ({ resets_at: at }: Limit): string =>
  at === undefined ? 'later' : `${new Date(at * 1000).toISOString().slice(11, 16)} UTC`;
