import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { short, tick } from '../format.js';
import { useDark } from '../browser/theme.js';
import { smoothed } from './smoothed.js';

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

export interface ChartProps {
  readonly title: string;
  readonly steps: readonly number[];
  readonly series: readonly ChartSeries[];
  /** Weight of each previous step in the moving average. */
  readonly weight: number;
  readonly marks?: readonly { readonly step: number; readonly kind: string }[];
  readonly ring?: Ring | null;
  readonly log?: boolean;
  /** Unit of the x axis. The default is steps. */
  readonly over?: string;
  /** Accessible description of the chart. The default describes the first series. */
  readonly description?: string;
}

const HEIGHT = 230;
/** Distances between ticks of the step axis, which has whole steps only. */
const WHOLE = [1, 2, 5]
  .flatMap((n) => Array.from({ length: 8 }, (_, power) => n * 10 ** power))
  .sort((a, b) => a - b);

function lines(series: readonly ChartSeries[]): uPlot.Series[] {
  const value = (_: uPlot, v: number | null) => short(v);
  return series.flatMap((s): uPlot.Series[] => {
    const stroke = color(s.color);
    const raw: uPlot.Series = {
      label: s.label,
      stroke: s.smooth ? `${stroke}66` : stroke,
      width: 1.5,
      value,
      spanGaps: true,
      points: { size: 5, fill: stroke },
    };
    if (s.smooth === 'only') return [{ ...raw, stroke, width: 2, points: { show: false } }];
    if (s.dots) return [{ ...raw, points: { show: true, size: 7, fill: stroke } }];
    return s.smooth
      ? [
          raw,
          { label: 'smoothed', stroke, width: 2.2, value, spanGaps: true, points: { show: false } },
        ]
      : [raw];
  });
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

function plotOptions(shown: () => ChartProps, width: number): uPlot.Options {
  const { title, series, log, over } = shown();
  const ink = color('--ink-2');
  const grid = { stroke: color('--line'), width: 1 };
  return {
    title,
    width,
    height: HEIGHT,
    cursor: { sync: { key: 'job' } },
    scales: { x: { time: false }, y: log ? { distr: 3 } : {} },
    axes: [
      { stroke: ink, grid, ticks: grid, incrs: WHOLE, values: labels },
      { stroke: ink, grid, ticks: grid, size: 64, values: labels },
    ],
    series: [{ label: over ?? 'step' }, ...lines(series)],
    hooks: {
      draw: [
        (plot) => drawMarks(plot, shown().marks ?? [], ink),
        (plot) => drawRing(plot, shown().ring ?? null),
      ],
      setData: [showLast],
      setCursor: [showLast],
    },
  };
}

/** Shows the newest value of each series in the legend while there is no cursor. */
function showLast(plot: uPlot): void {
  if (plot.cursor.idx != null || plot.data[0].length === 0) return;
  const idxs = plot.data.map((column) => Array.from(column).findLastIndex((v) => v != null));
  plot.setLegend({ idxs }, false);
}

function drawMarks(
  plot: uPlot,
  marks: readonly { step: number; kind: string }[],
  ink: string,
): void {
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

/** Replaces values that a logarithmic axis cannot show (zero and below) by gaps. */
const drawable = (values: readonly (number | null)[], log = false): (number | null)[] =>
  values.map((value) => (log && value !== null && value <= 0 ? null : value));

const plotData = ({ steps, series, weight, log }: ChartProps): uPlot.AlignedData => [
  [...steps],
  ...series.flatMap((s) => {
    const raw = drawable(s.values, log);
    if (s.smooth === 'only') return [smoothed(raw, weight)];
    return s.smooth ? [raw, smoothed(raw, weight)] : [raw];
  }),
];

/** Returns the accessible description: "Loss over 40 steps, last 0.001262, lowest 2.230 at step 10". */
function described({ title, series: [first], ring, description }: ChartProps): string {
  if (description !== undefined) return description;
  const values = first?.values.filter((v) => v !== null) ?? [];
  const lowest = ring ? `, ${ring.label} at step ${ring.step}` : '';
  return `${title} over ${values.length} steps, last ${short(values.at(-1))}${lowest}`;
}

/** Updates the data without resetting a zoom. A double click resets it. */
function update(plot: uPlot, data: uPlot.AlignedData): void {
  const { min, max } = plot.scales['x'] ?? {};
  const [steps] = plot.data;
  const zoomed =
    min != null && max != null && steps.length > 1 && (min > steps[0]! || max < steps.at(-1)!);
  plot.setData(data, !zoomed);
  if (zoomed) plot.redraw();
}

/** A live chart over steps. All charts of a page share their cursor. */
export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const scheme = useDark();
  const shape = props.series.map((s) => s.label).join();
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(
      plotOptions(() => latest.current, element.clientWidth || 600),
      plotData(latest.current),
      element,
    );
    plot.current = made;
    showLast(made);
    const resized = new ResizeObserver(
      () => element.clientWidth > 0 && made.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, props.log, scheme]);

  useEffect(() => {
    if (plot.current) update(plot.current, plotData(props));
  }, [props]);
  return (
    <figure
      className="chart"
      role="img"
      aria-label={described(props)}
      data-points={props.series[0]?.values.filter((v) => v !== null).length}
    >
      <div ref={box} />
    </figure>
  );
}
