import type { MetricsObject } from '@graft/contracts';
import { Chart } from './chart.js';

/** Columns over all steps at which something was measured, trained or held out. */
export function columns({ steps, series, evaluations }: MetricsObject): {
  x: number[];
  of: (name: string) => (number | null)[];
  held: (number | null)[];
} {
  const x = [...new Set([...steps, ...evaluations.map((e) => e.step)])].sort((a, b) => a - b);
  const row = new Map(steps.map((step, i) => [step, i]));
  const losses = new Map(evaluations.map((e) => [e.step, e.loss]));
  return {
    x,
    of: (name) => x.map((step) => series[name]?.[row.get(step) ?? -1] ?? null),
    held: x.map((step) => losses.get(step) ?? null),
  };
}

export function JobCharts({ metrics, over }: { metrics: MetricsObject; over: boolean }) {
  if (metrics.steps.length === 0) {
    return (
      <p className="faint">
        {over
          ? 'No step was taken.'
          : 'The first step has not been taken yet: the curves appear here as it trains.'}
      </p>
    );
  }
  const { x, of, held } = columns(metrics);
  const { evaluations } = metrics;
  const marks = metrics.marks.filter((mark) => mark.step >= (x[0] ?? 0));
  const heldOut =
    evaluations.length > 0
      ? [{ label: 'held-out', values: held, color: '--held', dots: true }]
      : [];
  return (
    <>
      <div className="charts">
        <Chart
          title="Loss"
          steps={x}
          marks={marks}
          series={[
            { label: 'loss', values: of('loss'), color: '--accent', smooth: true },
            ...heldOut,
          ]}
        />
        <Chart
          title="Learning rate"
          steps={x}
          marks={marks}
          series={[{ label: 'rate', values: of('learning_rate'), color: '--rate' }]}
        />
        <Chart
          title="Throughput, tokens/s"
          steps={x}
          marks={marks}
          series={[
            { label: 'tokens/s', values: of('tokens_per_second'), color: '--speed', smooth: true },
          ]}
        />
        <Chart
          title="Gradient norm"
          steps={x}
          marks={marks}
          series={[{ label: 'norm', values: of('grad_norm'), color: '--norm', smooth: true }]}
        />
      </div>
      <p className="faint">
        Over optimiser steps. Faint: each step; bold: moving average over about ten. Drag to zoom,
        double click to see all.
        {marks.some((m) => m.kind === 'checkpoint') && ' Dotted line: a saved checkpoint.'}
        {marks.some((m) => m.kind === 'attempt') && ' Dashed line: another attempt took over.'}
      </p>
    </>
  );
}
