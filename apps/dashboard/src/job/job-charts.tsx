import type { MetricDescription, MetricsObject } from '@graft/contracts';
import { EVAL_SCORE } from '@graft/contracts/evals';
import { useState } from 'react';
import { lowestValidation } from './job-text.js';
import { short } from '../format.js';
import { Chart } from '../charts/chart.js';
import { fittedWeight } from '../charts/smoothed.js';

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

/** Line colors of the charts, in turn. The loss has the first. */
const COLORS = ['--accent', '--series-1', '--series-4', '--series-6'];

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
  /** Metrics of the job's task, from the catalog. */
  readonly described: readonly MetricDescription[];
  readonly over: boolean;
}

export function JobCharts({ metrics, described, over }: ChartsProps) {
  const [chosen, setChosen] = useState<number | null>(null);
  const [log, setLog] = useState(false);
  if (metrics.steps.length === 0) return <NoStepYet over={over} />;
  const { x, of, validation } = columns(metrics);
  const lowest = lowestValidation(metrics.evaluations);
  const weight = chosen ?? fittedWeight(metrics.steps.length);
  const marks = metrics.marks.filter((mark) => mark.step >= (x[0] ?? 0));
  return (
    <>
      <Controls
        weight={weight}
        choose={setChosen}
        fitted={chosen === null}
        log={log}
        setLog={setLog}
      />
      <div className="charts">
        {drawn(metrics, described).map(({ name, title, unit, draw }, n) => {
          const held = percent(unit, validation(name));
          const trained = percent(unit, of(name));
          return (
            <Chart
              key={name}
              steps={x}
              marks={marks}
              weight={weight}
              title={unit === null ? title : `${title}, ${unit}`}
              log={log && draw?.log === true}
              series={[
                // An eval score has only single points.
                ...(metrics.series[name] === undefined
                  ? []
                  : [
                      {
                        label: name.replaceAll('_', ' '),
                        values: trained,
                        color: COLORS[n % COLORS.length] as string,
                        smooth: draw?.smooth === true,
                      },
                    ]),
                ...(held.some((value) => value !== null)
                  ? [{ label: 'validation', values: held, color: '--series-2', dots: true }]
                  : []),
              ]}
              ring={
                name === 'loss' && lowest
                  ? {
                      step: lowest.step,
                      value: lowest.loss,
                      label: `lowest ${short(lowest.loss)}`,
                      color: '--series-2',
                    }
                  : null
              }
            />
          );
        })}
      </div>
      <p className="faint">
        By optimiser step. Faint: each step; bold: moving average. Drag to zoom, double-click to
        reset.
        {lowest && ' Ring: the lowest validation loss.'}
        {marks.some((m) => m.kind === 'checkpoint') && ' Dotted line: a saved checkpoint.'}
        {marks.some((m) => m.kind === 'attempt') && ' Dashed line: a new attempt started.'}
      </p>
    </>
  );
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
    <div className="charts">
      <div className="chart">
        <p className="faint">No training steps yet. Curves appear here once training starts.</p>
      </div>
    </div>
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
    <div className="bar controls">
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
      {fitted ? (
        <span className="faint">automatic</span>
      ) : (
        <button className="small" onClick={() => choose(null)}>
          Automatic
        </button>
      )}
      <label>
        <input type="checkbox" checked={log} onChange={(e) => setLog(e.target.checked)} /> log scale
      </label>
    </div>
  );
}
