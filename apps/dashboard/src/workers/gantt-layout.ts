// Layout of a pool's queue over time. Positions are fractions of the width, from 0 (now) to 1.
import type { PoolQueueObject, PoolRunningJob, PoolWaitingJob } from '@graft/contracts';

/** Lengths of the time axis in seconds, with the distance of its ticks. */
const SCALES = [
  [600, 120],
  [1800, 300],
  [3600, 600],
  [7200, 1200],
  [14_400, 3600],
  [28_800, 7200],
  [86_400, 14_400],
] as const;

export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface GanttRow {
  readonly job: PoolRunningJob | PoolWaitingJob;
  readonly isRunning: boolean;
  /** Time in which the job holds its slot; null without a forecast. */
  readonly bar: Span | null;
  /** Whether the end of the bar is unknown. */
  readonly isOpen: boolean;
  /** Time in which the job may start. */
  readonly range: Span | null;
}

export interface Gantt {
  /** Length of the time axis in seconds. */
  readonly length: number;
  /** Marks of the axis, in seconds from now. */
  readonly ticks: readonly number[];
  readonly rows: readonly GanttRow[];
}

/** Width of a bar whose end is unknown. */
const UNKNOWN = 0.12;

/** Lays out the running and the waiting jobs of a pool. */
export function ganttOf(queue: PoolQueueObject): Gantt {
  const [length, distance] = scaleOf(queue);
  const place = (time: number): number => Math.min(1, Math.max(0, (time - queue.at) / length));
  const running = queue.running.map((job): GanttRow => {
    const end = job.estimated_finish;
    const bar = { from: 0, to: end === null ? UNKNOWN : Math.max(0.004, place(end)) };
    return { job, isRunning: true, bar, isOpen: end === null, range: null };
  });
  const waiting = queue.waiting.map((job): GanttRow => {
    const { estimated_start: start, estimated_start_range: range, estimated_seconds: long } = job;
    const from = start === null ? null : place(start);
    const to =
      start === null || from === null ? null : long === null ? from + UNKNOWN : place(start + long);
    return {
      job,
      isRunning: false,
      bar: from === null || to === null ? null : { from, to: Math.min(1, Math.max(from, to)) },
      isOpen: long === null,
      range: range && { from: place(range[0]), to: place(range[1]) },
    };
  });
  const ticks = [];
  for (let at = 0; at < length; at += distance) ticks.push(at);
  return { length, ticks, rows: [...running, ...waiting] };
}

/** Returns the shortest scale that shows all forecasts. */
function scaleOf(queue: PoolQueueObject): readonly [length: number, distance: number] {
  const times = [
    ...queue.running.map(({ estimated_finish: end }) => end),
    ...queue.waiting.map(({ estimated_start: start, estimated_seconds: long }) =>
      start === null ? null : start + (long ?? 0),
    ),
    ...queue.waiting.map(({ estimated_start_range: range }) => range && range[1]),
  ].filter((time) => time !== null);
  const most = Math.max(0, ...times.map((time) => time - queue.at));
  return SCALES.find(([length]) => length >= most) ?? [86_400, 14_400];
}
