/** Fraction of the run that a smoothed point averages, approximately. */
const SHARE = 1 / 20;

/** Returns the weight for a run of the given length. A fixed weight would lag over the whole of a short run. */
export const fittedWeight = (steps: number): number =>
  Math.min(0.99, Math.round((1 - 1 / Math.max(1, steps * SHARE)) * 100) / 100);

/**
 * Computes an exponential moving average: the weighted mean of all values so far, in which each
 * step counts `weight` times as much as the next one. The sum is divided by the sum of the weights;
 * otherwise the first value would dominate and the curve of a short run would lie above its values.
 * Gaps stay gaps.
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
