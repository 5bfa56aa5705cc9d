import type { SweepMetric } from '@graft/contracts';
import { METRIC_NAMES, scoreText, trialLabel } from '@graft/contracts/sweep-text';
import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import { tick } from '../format.js';
import { useDark } from '../browser/theme.js';
import { color, drawRing } from '../charts/chart.js';
import type { Cost, Point } from './pareto.js';

interface Props {
  readonly points: readonly Point[];
  readonly cost: Cost;
  readonly metric: SweepMetric;
  /** Number of the highlighted trial. */
  readonly winner: number | null;
}

const HEIGHT = 280;

const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** Returns "Validation loss over memory". */
const titleOf = ({ cost, metric }: Props): string =>
  `${capital(METRIC_NAMES[metric])} over ${cost.name.toLowerCase()}`;

/** Returns the point under the cursor in words: "3 · IA3: 2.310, 15 MB". */
function hoveredText({ points, cost, metric }: Props, at: number | null): string | undefined {
  const point = at === null ? undefined : points[at];
  if (!point) return undefined;
  const { trial, score } = point;
  return `${trial.number} · ${trialLabel(trial)}: ${scoreText(score, metric)}, ${cost.text(point.cost)}`;
}

function options(
  shown: () => Props,
  width: number,
  hover: (at: number | null) => void,
): uPlot.Options {
  const { cost } = shown();
  const [ink, all, best] = ['--ink-2', '--series-1', '--series-2'].map(color) as [string, string, string]; // prettier-ignore
  const grid = { stroke: color('--line'), width: 1 };
  return {
    width,
    legend: { show: false },
    height: HEIGHT,
    scales: { x: { time: false, range: padded } },
    axes: [
      { stroke: ink, grid, ticks: grid, space: 90, values: (_, ticks) => ticks.map(cost.text) },
      { stroke: ink, grid, ticks: grid, size: 64, values: (_, ticks) => ticks.map(tick) },
    ],
    series: [
      {},
      { stroke: all, width: 0, paths: () => null, points: { show: true, size: 8, fill: all } },
      { stroke: best, width: 1.5, spanGaps: true, points: { show: true, size: 10, fill: best } },
    ],
    hooks: {
      draw: [(plot) => drawRing(plot, ringOf(shown()))],
      setCursor: [({ cursor }) => hover(cursor.idx ?? null)],
    },
  }; // prettier-ignore
}

/** Adds a margin, so that points at the edges are not clipped. */
function padded(_: uPlot, min: number, max: number): [number, number] {
  const edge = (max - min || Math.abs(max) || 1) * 0.06;
  return [min - edge, max + edge];
}

function ringOf({ points, winner }: Props): Parameters<typeof drawRing>[1] {
  const point = points.find(({ trial }) => trial.number === winner);
  return point
    ? { step: point.cost, value: point.score, label: `trial ${winner}`, color: '--series-2' }
    : null;
}

const data = ({ points }: Props): uPlot.AlignedData => [
  points.map(({ cost }) => cost),
  points.map(({ score }) => score),
  points.map(({ score, isBest }) => (isBest ? score : null)),
];

/**
 * Returns the accessible description: "Validation loss over training time of 6 trials; Pareto
 * front: trial 3 (8 s, 2.310), trial 1 (…)".
 */
function described(props: Props): string {
  const { points, cost, metric } = props;
  const best = points
    .filter(({ isBest }) => isBest)
    .map((one) => `trial ${one.trial.number} (${cost.text(one.cost)}, ${scoreText(one.score, metric)})`); // prettier-ignore
  return `${titleOf(props)} of ${points.length} trials; Pareto front: ${best.join(', ')}`;
}

/** Scatter plot of trials by cost and score. A line connects the Pareto front. */
export function ParetoChart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hovered, setHovered] = useState<number | null>(null);
  const scheme = useDark();
  const latest = useRef(props);
  latest.current = props;
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const shown = () => latest.current;
    const width = element.clientWidth || 600;
    const made = new uPlot(options(shown, width, setHovered), data(shown()), element);
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
  }, [props.cost, props.metric, scheme]);
  useEffect(() => plot.current?.setData(data(props)), [props]);
  return (
    <figure className="chart">
      <figcaption className="chart-head">
        <span className="chart-title">{titleOf(props)}</span>
        <span className="faint">
          {hoveredText(props, hovered) ?? 'The line connects the best trials for their cost.'}
        </span>
      </figcaption>
      <div ref={box} role="img" aria-label={described(props)} data-points={props.points.length} />
    </figure>
  );
}
