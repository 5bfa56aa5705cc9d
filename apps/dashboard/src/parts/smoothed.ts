const WEIGHT = 0.9;

/**
 * Exponential moving average: the weighted mean of all values so far, each step back weighing 0.9 of the
 * one after it. Divided by the sum of the weights, or the first value would weigh ten times its share and a
 * short run's curve hang above its values. Gaps stay gaps.
 */
export function smoothed(values: readonly (number | null)[]): (number | null)[] {
  let sum = 0;
  let weights = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = WEIGHT * sum + value;
    weights = WEIGHT * weights + 1;
    return sum / weights;
  });
}
