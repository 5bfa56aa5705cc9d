// Curves, order, ties and memory of the trials of a sweep while they run.
import type { MetricsObject, SweepMetric, SweepObject, TrialObject } from '@graft/contracts';
import { rankedTrials } from '@graft/contracts/sweep-text';

/** Color of a trial's curve and lane. More than ten trials share colors; their lanes have names. */
export const trialColor = (number: number): string => `--series-${((number - 1) % 10) + 1}`;

const ENDED: readonly TrialObject['status'][] = ['succeeded', 'failed', 'cancelled'];
export const hasEnded = ({ status }: TrialObject): boolean => ENDED.includes(status);
export const isOpen = ({ status }: Pick<SweepObject, 'status'>): boolean =>
  status === 'queued' || status === 'running';

/** Returns the trial with the best score so far, finished or not; null before the first score. */
export function leaderOf(trials: readonly TrialObject[], metric: SweepMetric): TrialObject | null {
  const [first] = rankedTrials(trials, metric);
  return first && first.score !== null ? first : null;
}

/** Metric of the chart: losses of training steps or of evaluations. */
export type RaceMetric = 'training' | 'validation';

/** Returns a trial's losses by step. */
export function lossesOf(metrics: MetricsObject, of: RaceMetric): ReadonlyMap<number, number> {
  const points: (readonly [number, number | null | undefined])[] =
    of === 'training'
      ? metrics.steps.map((step, i) => [step, metrics.series['loss']?.[i]])
      : metrics.evaluations.map(({ step, loss }) => [step, loss]);
  return new Map(points.filter((point): point is [number, number] => typeof point[1] === 'number'));
}

export interface RaceCurves {
  readonly steps: readonly number[];
  /** Losses of each trial at each step, in the order of the trials. */
  readonly values: readonly (readonly (number | null)[])[];
}

/** Returns the curves of all trials over their common steps. */
export function raceCurves(losses: readonly ReadonlyMap<number, number>[]): RaceCurves {
  const steps = [...new Set(losses.flatMap((one) => [...one.keys()]))].sort((a, b) => a - b);
  return { steps, values: losses.map((one) => steps.map((step) => one.get(step) ?? null)) };
}

/** Returns the last step of the longest trial. */
export const trackLength = (trials: readonly TrialObject[]): number =>
  Math.max(1, ...trials.map(({ total_steps: total, step }) => total ?? step));

export interface SharedMemory {
  readonly runs: number;
  readonly bases: number;
  /** Bytes in use: each base once, and what each run has of its own. */
  readonly bytes: number;
  /** Bytes that the runs would need with a base each. */
  readonly alone: number;
}

/**
 * Returns the memory of running trials that share bases. Null unless several runs share one.
 * @param process returns the trainer process of a trial, which holds its base
 */
export function sharedMemory(
  trials: readonly TrialObject[],
  base: number,
  process: (trial: TrialObject) => string | null,
): SharedMemory | null {
  const running = trials.filter(
    (trial) => trial.status === 'running' && trial.memory_bytes !== null && process(trial) !== null,
  );
  const bases = new Set(running.map(process)).size;
  if (running.length <= bases) return null;
  const own = running.reduce((sum, { memory_bytes: bytes }) => sum + (bytes ?? 0), 0);
  return {
    runs: running.length,
    bases,
    bytes: bases * base + own,
    alone: running.length * base + own,
  };
}
