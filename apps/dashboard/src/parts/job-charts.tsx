import type { MetricsObject } from '@graft/contracts';
import { useState } from 'react';
import { lowestValidation } from '../job-words.js';
import { short } from '../wording.js';
import { Chart } from './chart.js';
import { fittedWeight } from './smoothed.js';

/** Columns over all steps at which something was measured, in training or in validation. */
export function columns({ steps, series, evaluations }: MetricsObject): {
  x: number[];
  of: (name: string) => (number | null)[];
  validation: (number | null)[];
} {
  const x = [...new Set([...steps, ...evaluations.map((e) => e.step)])].sort((a, b) => a - b);
  const row = new Map(steps.map((step, i) => [step, i]));
  const losses = new Map(evaluations.map((e) => [e.step, e.loss]));
  return {
    x,
    of: (name) => x.map((step) => series[name]?.[row.get(step) ?? -1] ?? null),
    validation: x.map((step) => losses.get(step) ?? null),
  };
}

export function JobCharts({ metrics, over }: { metrics: MetricsObject; over: boolean }) {
  const [chosen, setChosen] = useState<number | null>(null);
  const [log, setLog] = useState(false);
  if (metrics.steps.length === 0) return <NoStepYet over={over} />;
  const { x, of, validation } = columns(metrics);
  const lowest = lowestValidation(metrics.evaluations);
  const weight = chosen ?? fittedWeight(metrics.steps.length);
  const marks = metrics.marks.filter((mark) => mark.step >= (x[0] ?? 0));
  const shared = { steps: x, marks, weight };
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
        <Chart
          {...shared}
          title="Loss"
          log={log}
          series={[
            { label: 'loss', values: of('loss'), color: '--accent', smooth: true },
            ...(lowest
              ? [{ label: 'validation', values: validation, color: '--held', dots: true }]
              : []),
          ]}
          ring={
            lowest && {
              step: lowest.step,
              value: lowest.loss,
              label: `lowest ${short(lowest.loss)}`,
              color: '--held',
            }
          }
        />
        <Chart
          {...shared}
          title="Learning rate"
          series={[{ label: 'rate', values: of('learning_rate'), color: '--rate' }]}
        />
        <Chart
          {...shared}
          title="Throughput, tokens/s"
          series={[
            { label: 'tokens/s', values: of('tokens_per_second'), color: '--speed', smooth: true },
          ]}
        />
        <Chart
          {...shared}
          title="Gradient norm"
          log={log}
          series={[{ label: 'norm', values: of('grad_norm'), color: '--norm', smooth: true }]}
        />
      </div>
      <p className="faint">
        Over optimiser steps. Faint: each step; bold: moving average. Drag to zoom, double click to
        see all.
        {lowest && ' Ring: the lowest validation loss.'}
        {marks.some((m) => m.kind === 'checkpoint') && ' Dotted line: a saved checkpoint.'}
        {marks.some((m) => m.kind === 'attempt') && ' Dashed line: another attempt took over.'}
      </p>
    </>
  );
}

/** As high as the charts will be, so that nothing moves when they come. */
function NoStepYet({ over }: { over: boolean }) {
  if (over) return <p className="faint">No step was taken.</p>;
  return (
    <div className="charts">
      <div className="chart">
        <p className="faint">
          The first step has not been taken yet: the curves appear here as it trains.
        </p>
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
        <span className="faint">fitted to the run’s length</span>
      ) : (
        <button className="small" onClick={() => choose(null)}>
          Fit to the run
        </button>
      )}
      <label>
        <input type="checkbox" checked={log} onChange={(e) => setLog(e.target.checked)} /> log scale
      </label>
    </div>
  );
}
