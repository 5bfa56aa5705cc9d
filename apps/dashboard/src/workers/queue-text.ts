// Words for the queue of a pool and for the consequences of actions in it.
import type { PoolChange, PoolWaitingJob, PoolWhatIfObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';

/** Starts within this many seconds count as immediate. */
const SOON = 5;

/** Returns the name of a job, or whose job it is if its name is not visible. */
export function jobTitle({ name, project }: Pick<PoolWaitingJob, 'name' | 'project'>): string {
  if (name !== null) return name;
  return project ? `a job of ${project.name}` : 'a job of another project';
}

/** Returns "starts right away" or "starts in about 4 min"; null without a forecast. */
export function startText(start: number | null, now: number): string | null {
  if (start === null) return null;
  return start - now <= SOON ? 'starts right away' : `starts in about ${about(start - now)}`;
}

/** Returns "2 min to 9 min"; null without a forecast. */
export const rangeText = (range: readonly [number, number] | null, now: number): string | null =>
  range && `${about(Math.max(0, range[0] - now))} to ${about(range[1] - now)}`;

/** Formats seconds with one unit, because forecasts are not more precise. */
export function about(seconds: number): string {
  if (seconds < 90) return duration(Math.round(seconds));
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1).replace(/\.0$/, '')} h`;
}

/** Describes what an action does to one job. */
export function effectText(
  change: PoolChange,
  { slots_left: slots, at }: { readonly slots_left: number; readonly at: number },
): string {
  const start = startText(change.start_after, at);
  if (change.was_running) {
    if (slots === 0) return 'saves a checkpoint and waits until another worker joins';
    if (start === null) return 'saves a checkpoint and waits for a free slot on another worker';
    return start === 'starts right away'
      ? 'saves a checkpoint and resumes on another worker right away'
      : `saves a checkpoint and resumes in about ${about((change.start_after ?? at) - at)}`;
  }
  const { delay_seconds: delay } = change;
  if (delay === null)
    return slots === 0 ? 'waits until another worker joins' : 'starts later; no forecast yet';
  return delay < 0
    ? `starts ${about(-delay)} earlier${start ? ` (${start.replace('starts ', '')})` : ''}`
    : `starts ${about(delay)} later`;
}

/** Sums up an action in one sentence. */
export function summary(of: PoolWhatIfObject): string {
  const moved = of.changes.filter(({ was_running: was }) => was).length;
  const delayed = of.changes.filter(
    ({ was_running: was, delay_seconds: delay, id }) =>
      !was && (delay === null || delay > 0) && !(of.action === 'front' && id === of.target),
  ).length;
  const jobs = (n: number): string => (n === 1 ? '1 job' : `${n} jobs`);
  if (of.action === 'front')
    return delayed === 0 ? 'No other job is delayed.' : `Delays ${jobs(delayed)}.`;
  const parts = [
    ...(moved > 0 ? [`${jobs(moved)} ${moved === 1 ? 'moves' : 'move'} to other workers`] : []),
    ...(delayed > 0
      ? [`${jobs(delayed)} in the queue ${delayed === 1 ? 'waits' : 'wait'} longer`]
      : []),
  ];
  if (of.slots_left === 0)
    return `No other worker in pool ${of.id} accepts jobs. ${parts.length > 0 ? 'All its jobs wait until one joins.' : 'New jobs will wait until one joins.'}`;
  return parts.length === 0 ? 'No job is delayed.' : `${parts.join(', and ')}.`;
}
