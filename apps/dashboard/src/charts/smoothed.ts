/** A point stands for the mean of about this fraction of the run. */
const SHARE = 1 / 20;

/** The weight for a run of so many steps: a fixed one would lag over the whole of a short run. */
export const fittedWeight = (steps: number): number =>
  Math.min(0.99, Math.round((1 - 1 / Math.max(1, steps * SHARE)) * 100) / 100);

/**
 * Exponential moving average: the weighted mean of all values so far, each step back weighing `weight` of the
 * one after it. Divided by the sum of the weights, or the first value would weigh many times its share and a
 * short run's curve hang above its values. Gaps stay gaps.
 */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let weights = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + value;
    weights = weight * weights + 1;
    return sum / weights;
  });
}
