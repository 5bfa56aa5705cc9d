import { fittedWeight, smoothed } from '@graft/contracts/smoothed';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useDark } from '../browser/theme.js';
import { color } from '../charts/chart.js';
import { short, tick } from '../format.js';
import { trialColor, type RaceCurves } from './race.js';

export interface Racer {
  readonly number: number;
  readonly label: string;
  /** Step of the rung at which it was stopped; null if it was not. */
  readonly stoppedAt: number | null;
}

interface Props {
  readonly title: string;
  readonly racers: readonly Racer[];
  readonly curves: RaceCurves;
  /** Whether values are noisy, so that their moving average is drawn. */
  readonly isSmooth: boolean;
  /** Last step of the longest trial. */
  readonly length: number;
  readonly rungs: readonly number[];
  /** One in this many trials continues after a rung. */
  readonly factor: number | null;
  readonly leader: number | null;
  /** Trial that the user points at. The others are faint. */
  readonly focused: number | null;
}

const HEIGHT = 360;
const FAINT = '40';
const STOPPED = '59';

/** Style of a trial's curve: the leader is thick, stopped trials are faint. */
function strokeOf({ focused, leader }: Props, { number, stoppedAt }: Racer) {
  const stroke = color(trialColor(number));
  if (focused !== null)
    return number === focused ? { stroke, width: 3 } : { stroke: `${stroke}${FAINT}`, width: 1.5 };
  if (number === leader) return { stroke, width: 3 };
  return { stroke: stoppedAt === null ? stroke : `${stroke}${STOPPED}`, width: 1.75 };
}

function options(shown: () => Props, width: number): uPlot.Options {
  const ink = color('--ink-2');
  const grid = { stroke: color('--line'), width: 1 };
  const labels = (_: uPlot, ticks: (number | null)[]) =>
    ticks.map((value) => (value === null ? '' : tick(value)));
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: false, range: () => [0, shown().length * 1.01] } },
    axes: [
      { stroke: ink, grid: { show: false }, ticks: grid, values: labels },
      { stroke: ink, grid, ticks: grid, size: 56, values: labels },
    ],
    series: [
      { label: 'step' },
      ...shown().racers.map((racer): uPlot.Series => ({
        label: racer.label,
        spanGaps: true,
        points: { show: false },
        value: (_, value: number | null) => short(value),
        stroke: () => strokeOf(shown(), racer).stroke,
        width: strokeOf(shown(), racer).width,
      })),
    ],
    hooks: {
      drawAxes: [(plot) => drawGates(plot, shown(), ink)],
      draw: [(plot) => drawEnds(plot, shown())],
    },
  };
}

/** Draws the rungs as gates across the track. */
function drawGates(plot: uPlot, { rungs, factor }: Props, ink: string): void {
  const { ctx, bbox } = plot;
  const unit = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ink;
  ctx.fillStyle = ink;
  ctx.textAlign = 'left';
  ctx.lineWidth = 1.5 * unit;
  ctx.font = `500 ${11 * unit}px 'Inter Variable', sans-serif`;
  for (const [n, rung] of rungs.entries()) {
    const x = plot.valToPos(rung, 'x', true);
    ctx.setLineDash([5 * unit, 4 * unit]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const text =
      n === 0 && factor !== null ? `rung ${rung}: 1 in ${factor} continues` : `rung ${rung}`;
    ctx.fillText(text, x + 6 * unit, bbox.top + 12 * unit);
  }
  ctx.restore();
}

/** Draws the head of each curve: a dot while it runs, and a cross where it was stopped. */
function drawEnds(plot: uPlot, props: Props): void {
  const { ctx } = plot;
  const unit = devicePixelRatio;
  ctx.save();
  for (const [n, racer] of props.racers.entries()) {
    const values = plot.data[n + 1] ?? [];
    const last = Array.from(values).findLastIndex((value) => value != null);
    if (last < 0) continue;
    const x = plot.valToPos(plot.data[0][last]!, 'x', true);
    const y = plot.valToPos(values[last]!, 'y', true);
    const { stroke } = strokeOf(props, racer);
    ctx.strokeStyle = stroke;
    ctx.fillStyle = stroke;
    ctx.lineWidth = 2 * unit;
    ctx.beginPath();
    if (racer.stoppedAt === null) ctx.arc(x, y, 4 * unit, 0, 2 * Math.PI);
    else
      for (const sign of [1, -1]) {
        ctx.moveTo(x - 4 * unit, y - sign * 4 * unit);
        ctx.lineTo(x + 4 * unit, y + sign * 4 * unit);
      }
    if (racer.stoppedAt === null) ctx.fill();
    else ctx.stroke();
  }
  ctx.restore();
}

function data({ curves, isSmooth }: Props): uPlot.AlignedData {
  const weight = isSmooth ? fittedWeight(curves.steps.length) : 0;
  return [
    [...curves.steps],
    ...curves.values.map((values) => (isSmooth ? smoothed([...values], weight) : [...values])),
  ];
}

/** Live curves of all trials of a sweep over one track, with rungs as gates. */
export function RaceChart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const scheme = useDark();
  const latest = useRef(props);
  latest.current = props;
  const shape = props.racers.map(({ number }) => number).join();
  const styles = `${props.leader} ${props.focused}`;
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const shown = () => latest.current;
    const made = new uPlot(options(shown, element.clientWidth || 600), data(shown()), element);
    plot.current = made;
    const resized = new ResizeObserver(
      () => element.clientWidth > 0 && made.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, scheme, styles]);
  useEffect(() => plot.current?.setData(data(props)), [props]);
  const { title, racers, leader, curves } = props;
  const first = racers.find(({ number }) => number === leader);
  return (
    <figure
      className="chart race-chart"
      role="img"
      aria-label={`${title} of ${racers.length} trials over ${props.length} steps${first ? `, ${first.label} leads` : ''}`}
      data-points={curves.steps.length}
    >
      {curves.steps.length === 0 && <p className="race-waits">Waiting for the first steps…</p>}
      <div ref={box} />
    </figure>
  );
}
