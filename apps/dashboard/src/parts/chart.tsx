import { useEffect, useRef, useSyncExternalStore } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { short, tick } from '../wording.js';
import { smoothed } from './smoothed.js';

export interface ChartSeries {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** Name of a CSS variable that holds a six-digit colour, so that it follows the colour scheme. */
  readonly color: string;
  /** Draws the raw values faintly and their moving average boldly on top. */
  readonly smooth?: boolean;
  readonly dots?: boolean;
}

export interface ChartProps {
  readonly title: string;
  readonly steps: readonly number[];
  readonly series: readonly ChartSeries[];
  readonly marks?: readonly { readonly step: number; readonly kind: string }[];
}

const HEIGHT = 230;
/** Distances between ticks of the step axis: whole steps only. */
const WHOLE = [1, 2, 5]
  .flatMap((n) => Array.from({ length: 8 }, (_, power) => n * 10 ** power))
  .sort((a, b) => a - b);

function lines(series: readonly ChartSeries[], color: (name: string) => string): uPlot.Series[] {
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
    if (s.dots) return [{ ...raw, points: { show: true, size: 7, fill: stroke } }];
    return s.smooth
      ? [raw, { label: 'mean', stroke, width: 2.2, value, spanGaps: true, points: { show: false } }]
      : [raw];
  });
}

function plotOptions({ title, series, marks }: ChartProps, width: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const ink = color('--ink-soft');
  const grid = { stroke: color('--line'), width: 1 };
  return {
    title,
    width,
    height: HEIGHT,
    cursor: { sync: { key: 'job' } },
    scales: { x: { time: false } },
    axes: [
      { stroke: ink, grid, ticks: grid, incrs: WHOLE, values: (_, ticks) => ticks.map(tick) },
      { stroke: ink, grid, ticks: grid, size: 64, values: (_, ticks) => ticks.map(tick) },
    ],
    series: [{ label: 'step' }, ...lines(series, color)],
    hooks: {
      draw: [(plot) => drawMarks(plot, marks ?? [], ink)],
      setData: [showLast],
      setCursor: [showLast],
    },
  };
}

/** Without a cross-hair the legend shows the newest value of each series. */
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

const plotData = ({ steps, series }: ChartProps): uPlot.AlignedData => [
  [...steps],
  ...series.flatMap((s) => (s.smooth ? [[...s.values], smoothed(s.values)] : [[...s.values]])),
];

/** New points must not undo a zoom: a double click does. */
function update(plot: uPlot, data: uPlot.AlignedData): void {
  const { min, max } = plot.scales['x'] ?? {};
  const [steps] = plot.data;
  const zoomed =
    min != null && max != null && steps.length > 1 && (min > steps[0]! || max < steps.at(-1)!);
  plot.setData(data, !zoomed);
  if (zoomed) plot.redraw();
}

const dark = matchMedia('(prefers-color-scheme: dark)');
function onScheme(changed: () => void): () => void {
  dark.addEventListener('change', changed);
  return () => dark.removeEventListener('change', changed);
}

/** A live chart over steps; all charts of a page share their cross-hair. */
export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const scheme = useSyncExternalStore(onScheme, () => dark.matches);
  const shape = props.series.map((s) => s.label).join();
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(
      plotOptions(latest.current, element.clientWidth || 600),
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
  }, [shape, props.marks?.length, scheme]);

  useEffect(() => {
    if (plot.current) update(plot.current, plotData(props));
  }, [props]);
  const last = props.series[0]?.values.findLast((v) => v !== null);
  return (
    <figure
      className="chart"
      role="img"
      aria-label={`${props.title} over ${props.steps.length} steps, last ${short(last)}`}
      data-points={props.steps.length}
    >
      <div ref={box} />
    </figure>
  );
}
