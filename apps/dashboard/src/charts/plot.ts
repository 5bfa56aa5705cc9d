// Options, marks and colors of the plots that chart.tsx draws with uPlot.
import { smoothed } from '@graft/contracts/smoothed';
import type uPlot from 'uplot';
import { short, tick } from '../format.js';

export interface ChartSeries {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** Name of a CSS variable with a six-digit color, so that the series follows the color scheme. */
  readonly color: string;
  /** Draws the raw values faintly with their moving average on top. "only" omits the raw values. */
  readonly smooth?: boolean | 'only';
  readonly dots?: boolean;
}

/** A highlighted point with a label. */
export interface Ring {
  readonly step: number;
  readonly value: number;
  readonly label: string;
  readonly color: string;
}

export interface Mark {
  readonly step: number;
  readonly kind: string;
}

/** Data and looks of a plot. */
export interface PlotProps {
  readonly steps: readonly number[];
  readonly series: readonly ChartSeries[];
  /** Weight of each previous step in the moving average. */
  readonly weight: number;
  /** Saved checkpoints ("checkpoint") and starts of attempts ("attempt"). */
  readonly marks?: readonly Mark[];
  readonly ring?: Ring | null;
  readonly log?: boolean;
  /** Unit of the x axis. The default is steps. */
  readonly over?: string;
  /** Height of plot and axes in pixels. */
  readonly height?: number;
  /** Titles of the axes. Small plots have none. */
  readonly axes?: { readonly x: string; readonly y: string };
}

export const HEIGHT = 230;
/** Height below which ticks are sparse. */
const SMALL = 160;
/** Distances between ticks of the step axis, which has whole steps only. */
const WHOLE = [1, 2, 5]
  .flatMap((n) => Array.from({ length: 8 }, (_, power) => n * 10 ** power))
  .sort((a, b) => a - b);

/** A line of a plot. Smoothed series have two. */
export interface Line {
  readonly label: string;
  readonly color: string;
  readonly values: readonly (number | null)[];
  readonly isFaint: boolean;
  readonly isBold: boolean;
  /** Whether it is the moving average of the line before it. */
  readonly isMean: boolean;
  readonly dots: boolean;
}

/** Replaces values that a logarithmic axis cannot show (zero and below) by gaps. */
const drawable = (values: readonly (number | null)[], log = false): (number | null)[] =>
  values.map((value) => (log && value !== null && value <= 0 ? null : value));

/** Returns the lines of a plot, in the order in which uPlot draws them. */
export const linesOf = ({ series, weight, log }: PlotProps): Line[] =>
  series.flatMap(({ label, color: name, values, smooth, dots = false }): Line[] => {
    const raw = drawable(values, log);
    const line = {
      label,
      color: name,
      values: raw,
      isFaint: false,
      isBold: false,
      isMean: false,
      dots,
    };
    if (!smooth) return [line];
    const mean = { ...line, values: smoothed(raw, weight), isBold: true };
    return smooth === 'only'
      ? [mean]
      : [
          { ...line, isFaint: true },
          { ...mean, label: 'smoothed', isMean: true },
        ];
  });

export const plotData = (steps: readonly number[], lines: readonly Line[]): uPlot.AlignedData => [
  [...steps],
  ...lines.map(({ values }) => [...values]),
];

function styled({ label, color: name, values, isFaint, isBold, dots }: Line): uPlot.Series {
  const stroke = color(name);
  return {
    label,
    stroke: isFaint ? `${stroke}66` : stroke,
    width: isBold ? 2.2 : 1.5,
    spanGaps: true,
    // A faint line has points only if it is a single one.
    points:
      isBold || (isFaint && values.filter((value) => value !== null).length > 1)
        ? { show: false }
        : { size: dots ? 7 : 5, fill: stroke, ...(dots && { show: true }) },
  };
}

/**
 * Formats axis labels. Ticks of a logarithmic axis can be null (a grid line without a label),
 * despite the types.
 */
const labels = (_: uPlot, ticks: (number | null)[]): string[] =>
  ticks.map((value) => (value === null ? '' : tick(value)));

/** Resolves a color token to "#rrggbb" in the current theme. A canvas does not know `light-dark()`. */
export function color(name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const parts = getComputedStyle(probe).color.match(/[\d.]+/g) ?? [];
  probe.remove();
  return `#${parts
    .slice(0, 3)
    .map((part) => Math.round(Number(part)).toString(16).padStart(2, '0'))
    .join('')}`;
}

interface Hooks {
  /** Called when the cursor moves, with the index of its step; null without a cursor. */
  readonly hovered: (index: number | null) => void;
  /** Called after each drawing, when places of steps may have changed. */
  readonly drawn: (plot: uPlot) => void;
}

/** Returns options of uPlot. `shown` returns the current properties, because marks change without a new plot. */
export function plotOptions(shown: () => PlotProps, width: number, hooks: Hooks): uPlot.Options {
  const { log, over, height = HEIGHT, axes } = shown();
  const ink = color('--ink-2');
  const grid = { stroke: color('--line'), width: 1 };
  const isSmall = height < SMALL;
  const font = `${isSmall ? 11 : 12}px 'Inter Variable', sans-serif`;
  const axis = { stroke: ink, grid, ticks: grid, values: labels, font, labelFont: font };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { sync: { key: 'job' } },
    scales: { x: { time: false }, y: log ? { distr: 3 } : {} },
    axes: [
      {
        ...axis,
        incrs: WHOLE,
        space: isSmall ? 60 : 50,
        size: isSmall ? 26 : 34,
        ...(axes && { label: axes.x, labelSize: 18 }),
      },
      {
        ...axis,
        space: isSmall ? 32 : 36,
        size: isSmall ? 48 : 56,
        ...(axes && { label: axes.y, labelSize: 18 }),
      },
    ],
    series: [{ label: over ?? 'step' }, ...linesOf(shown()).map(styled)],
    hooks: {
      drawClear: [(plot) => drawBands(plot, shown().marks ?? [])],
      draw: [
        (plot) => drawMarks(plot, shown().marks ?? [], ink),
        (plot) => drawRing(plot, shown().ring ?? null),
        hooks.drawn,
      ],
      setCursor: [({ cursor }) => hooks.hovered(cursor.idx ?? null)],
    },
  };
}

/** Shades every second attempt, so that the steps of an attempt are seen together. */
function drawBands(plot: uPlot, marks: readonly Mark[]): void {
  const { ctx, bbox } = plot;
  const end = bbox.left + bbox.width;
  const starts = marks.filter(({ kind }) => kind === 'attempt').map(({ step }) => step);
  const places = starts.map((step) => plot.valToPos(step, 'x', true));
  ctx.save();
  ctx.fillStyle = color('--raised');
  for (let n = 0; n < places.length; n += 2) {
    const from = Math.max(bbox.left, places[n] ?? 0);
    const to = Math.min(end, places[n + 1] ?? end);
    if (to > from) ctx.fillRect(from, bbox.top, to - from, bbox.height);
  }
  ctx.restore();
}

function drawMarks(plot: uPlot, marks: readonly Mark[], ink: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ink;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = devicePixelRatio;
  for (const mark of marks) {
    const x = plot.valToPos(mark.step, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.setLineDash(mark.kind === 'attempt' ? [6, 3] : [2, 5]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** Draws a ring around a point, with its label below, on the side that has more space. */
export function drawRing(plot: uPlot, ring: Ring | null): void {
  if (!ring) return;
  const { ctx, bbox } = plot;
  const x = plot.valToPos(ring.step, 'x', true);
  const y = plot.valToPos(ring.value, 'y', true);
  if (x < bbox.left || x > bbox.left + bbox.width || y < bbox.top || y > bbox.top + bbox.height)
    return;
  const unit = devicePixelRatio;
  const left = x > bbox.left + bbox.width / 2;
  const low = y > bbox.top + bbox.height - 24 * unit;
  const place = [ring.label, x + (left ? -8 : 8) * unit, y + (low ? -14 : 20) * unit] as const;
  ctx.save();
  ctx.strokeStyle = color(ring.color);
  ctx.lineWidth = 2 * unit;
  ctx.beginPath();
  ctx.arc(x, y, 8 * unit, 0, 2 * Math.PI);
  ctx.stroke();
  ctx.font = `600 ${12 * unit}px 'Inter Variable', sans-serif`;
  ctx.textAlign = left ? 'right' : 'left';
  ctx.strokeStyle = color('--surface'); // Margin, so that no line crosses the label.
  ctx.lineWidth = 4 * unit;
  ctx.strokeText(...place);
  ctx.fillStyle = color('--ink-1');
  ctx.fillText(...place);
  ctx.restore();
}

/** Returns the value of a line at a step. Sparse lines keep their last value. Without a step, the newest. */
export function valueAt({ values, dots }: Line, index: number | null): number | null {
  if (index === null) return values.findLast((value) => value !== null) ?? null;
  const value = values[index] ?? null;
  return value === null && dots
    ? (values.slice(0, index).findLast((one) => one !== null) ?? null)
    : value;
}

/** Returns the accessible description: "Loss over 40 steps, last 0.001262, lowest 2.230 at step 10". */
export function described(
  title: string,
  { series: [first], ring }: Pick<PlotProps, 'series' | 'ring'>,
): string {
  const values = first?.values.filter((v) => v !== null) ?? [];
  const lowest = ring ? `, ${ring.label} at step ${ring.step}` : '';
  return `${title} over ${values.length} steps, last ${short(values.at(-1))}${lowest}`;
}
