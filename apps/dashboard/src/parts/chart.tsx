import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { short } from '../wording.js';

export interface ChartSeries {
  readonly label: string;
  readonly values: readonly (number | null)[];
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

/** Exponential moving average that passes gaps through (weight 0.9 on the past). */
export function smoothed(values: readonly (number | null)[]): (number | null)[] {
  let mean: number | null = null;
  return values.map((v) => {
    if (v === null) return null;
    mean = mean === null ? v : 0.9 * mean + 0.1 * v;
    return mean;
  });
}

function plotOptions({ title, series, marks }: ChartProps, width: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--ink-soft');
  const grid = { stroke: style.getPropertyValue('--line'), width: 1 };
  const lines = series.flatMap((s): uPlot.Series[] => {
    const value = (_: uPlot, v: number | null) => short(v);
    const raw: uPlot.Series = { label: s.label, stroke: s.smooth ? `${s.color}55` : s.color, width: 1.5, value, spanGaps: true, points: { show: s.dots === true, size: 6 } };
    return s.smooth ? [raw, { label: `${s.label} (mean)`, stroke: s.color, width: 2.2, value, spanGaps: true, points: { show: false } }] : [raw];
  });
  return {
    title,
    width,
    height: 220,
    cursor: { sync: { key: 'job' } },
    scales: { x: { time: false } },
    axes: [
      { stroke: ink, grid, ticks: grid },
      { stroke: ink, grid, ticks: grid, size: 64, values: (_, ticks) => ticks.map(short) },
    ],
    series: [{ label: 'step' }, ...lines],
    hooks: { draw: [(plot) => drawMarks(plot, marks ?? [], ink)] },
  };
}

function drawMarks(plot: uPlot, marks: readonly { step: number; kind: string }[], ink: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ink;
  for (const mark of marks) {
    const x = plot.valToPos(mark.step, 'x', true);
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

/** A live chart over steps; all charts of a page share their cross-hair. */
export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shape = props.series.map((s) => s.label).join();
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(plotOptions(latest.current, element.clientWidth || 600), plotData(latest.current), element);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: 220 }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, props.marks?.length]);

  useEffect(() => plot.current?.setData(plotData(props)), [props]);
  return <div className="chart" ref={box} />;
}
