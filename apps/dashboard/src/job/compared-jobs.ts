// Curves of several jobs over a shared x axis.
import type { JobObject, Measured, MetricsObject } from '@graft/contracts';

/** X axes of curves: optimizer steps, training tokens, seconds of training, or the fraction of all steps. */
export const AXES = {
  step: { title: 'optimizer steps', unit: 'step' },
  tokens: { title: 'training tokens', unit: 'tokens' },
  time: { title: 'seconds of training', unit: 's' },
  share: { title: "percent of each job's steps", unit: '%' },
} as const;
export type Axis = keyof typeof AXES;

export interface ComparedCurves {
  readonly x: readonly number[];
  /** Values of each job, in order, at each x. */
  readonly values: readonly (readonly (number | null)[])[];
}

export interface Measurements {
  readonly job: JobObject;
  readonly metrics: MetricsObject;
}

/** Returns a function that maps a job's step to its position on an axis. */
function placeOf({ job, metrics }: Measurements, axis: Axis): (step: number) => number {
  const { steps, tokens, seconds } = metrics;
  if (axis === 'step') return (step) => step;
  if (axis === 'share') {
    const last = Math.max(job.graft.progress.total_steps ?? 0, steps.at(-1) ?? 0, 1);
    return (step) => (100 * step) / last;
  }
  // A step between two recorded ones gets the position of the earlier one.
  const column = axis === 'tokens' ? tokens : seconds;
  return (step) => column[lastUpTo(steps, step)] ?? 0;
}

/**
 * Returns the index of the last value that is not above the given one, or -1. The values are sorted
 * ascending.
 */
function lastUpTo(ascending: readonly number[], value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? Infinity) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Returns one metric of all jobs over a shared axis. */
export function comparedCurves(
  jobs: readonly Measurements[],
  axis: Axis,
  points: (metrics: MetricsObject) => readonly (readonly [step: number, value: number | null])[],
): ComparedCurves {
  const curves = jobs.map((one) => {
    const place = placeOf(one, axis);
    return new Map(points(one.metrics).map(([step, value]) => [place(step), value]));
  });
  const x = [...new Set(curves.flatMap((curve) => [...curve.keys()]))].sort((a, b) => a - b);
  return { x, values: curves.map((curve) => x.map((at) => curve.get(at) ?? null)) };
}

export const inTraining =
  (name: string) =>
  ({ steps, series }: MetricsObject): [number, number | null][] =>
    steps.map((step, i) => [step, series[name]?.[i] ?? null]);

export const inValidation =
  (name: string) =>
  ({ evaluations }: MetricsObject): [number, number | null][] =>
    evaluations.map((measured: Measured) => [measured.step, measured[name] ?? null]);

/**
 * Returns the metrics that at least one job has, training metrics first. Constants of evaluations
 * are omitted.
 */
export function comparedNumbers(all: readonly MetricsObject[]): {
  training: string[];
  validation: string[];
} {
  const named = (names: string[]) => [...new Set(names)];
  return {
    training: named(all.flatMap(({ series }) => Object.keys(series))),
    validation: named(
      all.flatMap(({ evaluations }) =>
        evaluations.flatMap(({ step: _, majority_accuracy: __, ...rest }) => Object.keys(rest)),
      ),
    ),
  };
}
