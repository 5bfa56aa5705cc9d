// Length of the trials of a sweep over methods that has a time budget.

/** Number of methods that the API's preset tries. */
export const TRIED_METHODS = 7;
/** Fewest steps after which methods can be compared. */
const FEWEST_STEPS = 20;

interface Budget {
  readonly minutes: number;
  /** Planned steps of one job, and their seconds; null if there is no estimate. */
  readonly steps: number;
  readonly seconds: number | null;
  /** Jobs that run at the same time. */
  readonly slots: number;
}

/**
 * Returns the steps of each trial so that all of them take about the budget, at most those of a normal job. Null without
 * an estimate: the trials then have the normal length. Weak trials stop early, so the sweep usually takes less time.
 */
export function stepsWithin({ minutes, steps, seconds, slots }: Budget): number | null {
  if (seconds === null || steps === 0) return null;
  const perTrial = (minutes * 60 * Math.max(1, slots)) / TRIED_METHODS;
  const affordable = Math.floor(perTrial / (seconds / steps));
  return Math.min(steps, Math.max(FEWEST_STEPS, affordable));
}
