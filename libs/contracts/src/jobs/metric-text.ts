import type { MetricDescription } from '../models/catalog.js';
import { lossText } from './loss-text.js';

/** Formats the value of a metric: 0.5213 with the unit % → "52.1 %". */
export const metricText = ({ unit }: Pick<MetricDescription, 'unit'>, value: number): string =>
  unit === '%' ? `${(100 * value).toFixed(1)} %` : lossText(value);

/** Whether a metric is a throughput other than tokens: images, or seconds of audio, per second. */
export const isMediaSpeed = ({ name, unit }: Pick<MetricDescription, 'name' | 'unit'>): boolean =>
  (unit?.endsWith('/s') ?? false) && name !== 'tokens_per_second';

/** Returns the throughput metrics of a step as text. */
export const mediaSpeeds = (
  described: readonly MetricDescription[],
  measured: Readonly<Record<string, number | null>> | null,
): string[] =>
  described.filter(isMediaSpeed).flatMap(({ name, unit }) => {
    const value = measured?.[name] ?? null;
    return value === null ? [] : [`${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`];
  });
