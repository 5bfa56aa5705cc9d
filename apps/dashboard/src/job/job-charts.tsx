import type { MetricDescription, MetricsObject } from '@graft/contracts';
import { EVAL_SCORE } from '@graft/contracts/evals';
import { fittedWeight } from '@graft/contracts/smoothed';
import { Maximize2 } from 'lucide-react';
import { useMemo, useState } from 'react';
import { lowestValidation } from './job-text.js';
import { short } from '../format.js';
import { Chart, type ChartProps, type Pin } from '../charts/chart.js';
import { Button, IconButton } from '../ui/controls/button.js';
import { Modal } from '../ui/overlays/modal.js';

const LARGE = 300;
const SMALL = 118;

/** Returns columns over all steps with a training or validation measurement. */
export function columns({ steps, series, evaluations }: MetricsObject): {
  x: number[];
  of: (name: string) => (number | null)[];
  validation: (name: string) => (number | null)[];
} {
  const x = [...new Set([...steps, ...evaluations.map((e) => e.step)])].sort((a, b) => a - b);
  const row = new Map(steps.map((step, i) => [step, i]));
  const measured = new Map(evaluations.map((e) => [e.step, e]));
  return {
    x,
    of: (name) => x.map((step) => series[name]?.[row.get(step) ?? -1] ?? null),
    validation: (name) => x.map((step) => measured.get(step)?.[name] ?? null),
  };
}

/** Returns the catalog's metrics of the job, followed by metrics that only a newer worker reports. */
export function drawn(
  { series, evaluations }: MetricsObject,
  described: readonly MetricDescription[],
): MetricDescription[] {
  const known = new Set(described.map(({ name }) => name));
  const measured = evaluations.flatMap((evaluation) => Object.keys(evaluation));
  const others = new Set([...Object.keys(series), ...measured].filter((name) => !known.has(name)));
  others.delete('step');
  // Constants of evaluations are shown as text next to the accuracy.
  others.delete('majority_accuracy');
  return [
    ...described.filter(({ name, draw }) => draw !== null && series[name] !== undefined),
    ...[...others].map((name) => ({
      name,
      title: name === EVAL_SCORE ? 'Eval score' : name,
      unit: null,
      draw: { smooth: true, log: false },
    })),
  ];
}

interface ChartsProps {
  readonly metrics: MetricsObject;
  /** Metrics of the job's task, from the catalog. Null while it loads. */
  readonly described: readonly MetricDescription[] | null;
  readonly over: boolean;
  /** Saved checkpoints, above the loss. */
  readonly pins: readonly Pin[];
}

/** Loss as one large chart, and the other metrics as small ones that expand. */
export function JobCharts({ metrics, described, over, pins }: ChartsProps) {
  const [chosen, setChosen] = useState<number | null>(null);
  const [log, setLog] = useState(false);
  const [expanded, setExpanded] = useState<string | null>(null);
  const weight = chosen ?? fittedWeight(metrics.steps.length);
  const plots = useMemo(
    () => (described === null ? [] : plotsOf(metrics, described, weight, log)),
    [metrics, described, weight, log],
  );
  if (described === null || metrics.steps.length === 0)
    return <NoStepYet over={over && described !== null} />;
  const loss = plots.find(({ name }) => name === 'loss');
  const others = plots.filter(({ name }) => name !== 'loss');
  const large = others.find(({ name }) => name === expanded);
  return (
    <section aria-label="Charts">
      {loss && (
        <Chart
          {...loss.plot}
          height={LARGE}
          axes={{ x: 'optimizer step', y: loss.plot.title }}
          pins={pins}
          actions={
            <Controls
              weight={weight}
              choose={setChosen}
              fitted={chosen === null}
              log={log}
              setLog={setLog}
            />
          }
        />
      )}
      <div className="small-charts">
        {others.map(({ name, plot }) => (
          <Chart
            key={name}
            {...plot}
            height={SMALL}
            actions={
              <IconButton
                size="s"
                label={`Expand ${plot.title}`}
                icon={<Maximize2 />}
                onClick={() => setExpanded(name)}
              />
            }
          />
        ))}
      </div>
      {large && (
        <Modal label={large.plot.title} className="wide" close={() => setExpanded(null)}>
          <Chart
            {...large.plot}
            height={LARGE + 80}
            axes={{ x: 'optimizer step', y: large.plot.title }}
          />
          <div className="bar">
            <span className="grow" />
            <Button onClick={() => setExpanded(null)}>Close</Button>
          </div>
        </Modal>
      )}
    </section>
  );
}

interface Plot {
  readonly name: string;
  readonly plot: ChartProps;
}

/** Returns the charts of all metrics, the loss first. Training is always series 1 and validation series 2. */
function plotsOf(
  metrics: MetricsObject,
  described: readonly MetricDescription[],
  weight: number,
  log: boolean,
): Plot[] {
  const { x, of, validation } = columns(metrics);
  const lowest = lowestValidation(metrics.evaluations);
  const marks = metrics.marks.filter((mark) => mark.step >= (x[0] ?? 0));
  return drawn(metrics, described).map(({ name, title, unit, draw }) => {
    const held = percent(unit, validation(name));
    const plot = {
      steps: x,
      marks: name === 'loss' ? marks : marks.filter(({ kind }) => kind === 'attempt'),
      weight,
      title: unit === null ? title : `${title}, ${unit}`,
      log: log && draw?.log === true,
      series: [
        // An eval score has only single points.
        ...(metrics.series[name] === undefined
          ? []
          : [
              {
                label: 'training',
                values: percent(unit, of(name)),
                color: '--series-1',
                smooth: draw?.smooth === true,
              },
            ]),
        ...(held.some((value) => value !== null)
          ? [{ label: 'validation', values: held, color: '--series-2', dots: true }]
          : []),
      ],
      ring:
        name === 'loss' && lowest
          ? {
              step: lowest.step,
              value: lowest.loss,
              label: `lowest ${short(lowest.loss)}`,
              color: '--series-2',
            }
          : null,
    };
    return { name, plot };
  });
}

/** Formats a fraction as a percentage. */
export const percent = (
  unit: string | null,
  values: readonly (number | null)[],
): readonly (number | null)[] =>
  unit === '%' ? values.map((value) => value && 100 * value) : values;

/** Placeholder as high as the charts, so that the layout does not shift. */
function NoStepYet({ over }: { over: boolean }) {
  if (over) return <p className="faint">No training steps were run.</p>;
  return (
    <>
      <div className="chart large-placeholder">
        <p className="faint">Curves appear here with the first training step.</p>
      </div>
      <div className="small-charts" aria-hidden="true">
        {Array.from({ length: 4 }, (_, n) => (
          <div key={n} className="chart small-placeholder" />
        ))}
      </div>
    </>
  );
}

interface ControlsProps {
  readonly weight: number;
  readonly choose: (weight: number | null) => void;
  readonly fitted: boolean;
  readonly log: boolean;
  readonly setLog: (log: boolean) => void;
}

function Controls({ weight, choose, fitted, log, setLog }: ControlsProps) {
  return (
    <div className="chart-controls">
      <label htmlFor="smoothing">Smoothing</label>
      <input
        id="smoothing"
        type="range"
        min="0"
        max="0.99"
        step="0.01"
        value={weight}
        onChange={(e) => choose(Number(e.target.value))}
      />
      <output className="numbers" htmlFor="smoothing">
        {weight.toFixed(2)}
      </output>
      <Button
        size="s"
        variant="ghost"
        disabled={fitted}
        title="Fit the smoothing to the length of the run"
        onClick={() => choose(null)}
      >
        Automatic
      </Button>
      <label>
        <input type="checkbox" checked={log} onChange={(e) => setLog(e.target.checked)} /> log scale
      </label>
    </div>
  );
}
