const LEVELS = '▁▂▃▄▅▆▇█';

/**
 * Draws a curve in one line of text, such as `█▆▄▂▁▁`. Several values share a character if there are more values than
 * `width`. Empty without two finite values.
 */
export function sparkline(values: readonly (number | null)[], width: number): string {
  const finite = values.filter((value) => value !== null && Number.isFinite(value)) as number[];
  if (finite.length < 2) return '';
  const points = inBuckets(finite, Math.min(width, finite.length));
  const low = Math.min(...points);
  const span = Math.max(...points) - low;
  const level = (value: number): number =>
    span === 0 ? 0 : Math.round(((value - low) / span) * (LEVELS.length - 1));
  return points.map((value) => LEVELS[level(value)]).join('');
}

/** Means of `count` groups of consecutive values. */
function inBuckets(values: readonly number[], count: number): number[] {
  return Array.from({ length: count }, (_, n) => {
    const from = Math.floor((n * values.length) / count);
    const group = values.slice(from, Math.floor(((n + 1) * values.length) / count));
    return group.reduce((sum, one) => sum + one, 0) / group.length;
  });
}
