import type { MetricDescription } from '../models/catalog.js';
import { lossText } from './loss-text.js';

/** A number of a step for people: 0.5213 of a fraction → "52.1 %". */
export const metricText = ({ unit }: Pick<MetricDescription, 'unit'>, value: number): string =>
  unit === '%' ? `${(100 * value).toFixed(1)} %` : lossText(value);

/** How fast a run reads what its task reads besides tokens: pictures, or seconds of sound, a second. */
export const isMediaSpeed = ({ name, unit }: Pick<MetricDescription, 'name' | 'unit'>): boolean =>
  (unit?.endsWith('/s') ?? false) && name !== 'tokens_per_second';

/** The same in words, of what a step measured. */
export const mediaSpeeds = (
  described: readonly MetricDescription[],
  measured: Readonly<Record<string, number | null>> | null,
): string[] =>
  described.filter(isMediaSpeed).flatMap(({ name, unit }) => {
    const value = measured?.[name] ?? null;
    return value === null ? [] : [`${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`];
  });
