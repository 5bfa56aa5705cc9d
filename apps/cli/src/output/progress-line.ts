import type { JobObject, Measured, MetricDescription } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { lossText } from '@graft/contracts/loss-text';
import { isMediaSpeed, mediaSpeeds, metricText } from '@graft/contracts/metric-text';
import { placeText } from '@graft/contracts/queue-place';
import type { LossCurve } from './loss-curve.js';
import { bar, printable } from './terminal.js';
import { lengthOf } from './text-width.js';

/**
 * Progress of a running job in one line: bar, steps, loss, tokens/s, ETA and the other metrics of its task. Before the
 * first step, the phase.
 */
export function progressLine(
  job: JobObject,
  last: Measured | null,
  described: readonly MetricDescription[] = [],
): string {
  if (!hasSteps(job, last)) return waitText(job);
  const loss = lastLoss(job, last);
  return joined([
    stepsText(job, last, WIDEST_BAR),
    loss === null ? null : `loss ${lossText(loss)}`,
    ...pace(job, last, described),
    ...otherParts(job, last, described),
  ]);
}

interface Live {
  readonly job: JobObject;
  readonly last: Measured | null;
  readonly described: readonly MetricDescription[];
  readonly curve: LossCurve;
}

const WIDEST_BAR = 24;
/** Columns of the bar and of the sparkline. */
type Widths = readonly [bar: number, curve: number];

const NARROWEST: Widths = [6, 0];
/** Widths to choose from by the width of the terminal. */
const WIDTHS: readonly Widths[] = [[WIDEST_BAR, 24], [16, 20], [10, 16], [6, 12], [6, 8], NARROWEST]; // prettier-ignore

/**
 * Same as `progressLine`, but with the moving average of the loss and its sparkline, for a terminal. Bar and sparkline
 * shrink to the width; what does not fit after them is left out.
 */
export function liveLine({ job, last, described, curve }: Live, width: number): string {
  if (!hasSteps(job, last)) return waitText(job);
  const loss = curve.average ?? lastLoss(job, last);
  const begun = ([barWidth, curveWidth]: Widths): (string | null)[] => {
    const drawn = curveWidth === 0 ? '' : ` ${curve.sparkline(curveWidth)}`;
    return [
      stepsText(job, last, barWidth),
      loss === null ? null : `avg loss ${lossText(loss)}${drawn}`.trimEnd(),
    ];
  };
  const fits = (parts: readonly (string | null)[]): boolean => lengthOf(joined(parts)) <= width;
  const rest = pace(job, last, described);
  const widths =
    WIDTHS.find((one) => fits([...begun(one), ...rest])) ??
    WIDTHS.find((one) => fits(begun(one))) ??
    NARROWEST;
  const line = begun(widths);
  for (const part of [...rest, ...otherParts(job, last, described)])
    if (fits([...line, part])) line.push(part);
  return joined(line);
}

const joined = (parts: readonly (string | null)[]): string =>
  parts.filter((part) => part !== null).join(' · ');

const stepOf = ({ graft }: JobObject, last: Measured | null): number =>
  Math.max(graft.progress.step, last?.step ?? 0);

function hasSteps(job: JobObject, last: Measured | null): boolean {
  const { operation, progress } = job.graft;
  const isBefore = stepOf(job, last) === 0 && progress.total_steps === null;
  return job.status === 'running' && !operation && !isBefore;
}

const waitText = ({ status, graft }: JobObject): string =>
  [`${status}: ${printable(graft.phase.message)}`, placeText(graft)]
    .filter((part) => part !== '')
    .join('; ');

const lastLoss = ({ graft }: JobObject, last: Measured | null): number | null =>
  last?.loss ?? graft.train_loss;

function stepsText(job: JobObject, last: Measured | null, barWidth: number): string {
  const step = stepOf(job, last);
  const total = job.graft.progress.total_steps;
  return total === null ? `step ${step}` : `${bar(step / total, barWidth)} ${step}/${total}`;
}

/** Speed and remaining time. */
function pace(
  { graft: { progress } }: JobObject,
  last: Measured | null,
  described: readonly MetricDescription[],
): (string | null)[] {
  const speed = last?.['tokens_per_second'] ?? progress.tokens_per_second;
  return [
    speed === null ? null : `${Math.round(speed)} tokens/s`,
    ...mediaSpeeds(described, last),
    progress.eta_seconds === null ? null : `ETA ${duration(progress.eta_seconds)}`,
  ];
}

/** Other metrics of the task and, before the first step, the phase. */
function otherParts(
  job: JobObject,
  last: Measured | null,
  described: readonly MetricDescription[],
): (string | null)[] {
  return [
    ...described.map((metric) => {
      const value = isMediaSpeed(metric) ? null : (last?.[metric.name] ?? null);
      return value === null ? null : `${metric.title.toLowerCase()} ${metricText(metric, value)}`;
    }),
    stepOf(job, last) === 0 ? printable(job.graft.phase.message) : null,
  ];
}
