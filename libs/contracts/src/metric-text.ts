import type { MetricDescription } from './catalog.js';
import { lossText } from './loss-text.js';

/** A number of a step for people: 0.5213 of a fraction → "52.1 %". */
export const metricText = ({ unit }: Pick<MetricDescription, 'unit'>, value: number): string =>
  unit === '%' ? `${(100 * value).toFixed(1)} %` : lossText(value);
