import type { SweepObject } from '@graft/contracts';
import { lazy, Suspense, useState } from 'react';
import { Section } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { COSTS, pointsOf } from './pareto.js';

const ParetoChart = lazy(async () => ({
  default: (await import('./pareto-chart.js')).ParetoChart,
}));

/** Chart of the finished trials' scores over their costs. Nothing before the first two have finished. */
export function Tradeoff({ sweep }: { sweep: SweepObject }) {
  const [by, setBy] = useState('time');
  const cost = COSTS[by] ?? COSTS['time']!;
  const { metric } = sweep.search;
  const points = pointsOf(sweep.trials ?? [], metric, cost);
  const finished = pointsOf(sweep.trials ?? [], metric, COSTS['time']!).length;
  if (finished < 2) return null;
  return (
    <Section
      title="Quality and cost"
      actions={
        <label>
          Cost{' '}
          <select value={by} onChange={(event) => setBy(event.target.value)}>
            {Object.entries(COSTS).map(([id, { name }]) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
      }
    >
      {points.length === 0 ? (
        <p className="faint">No finished trial has this cost.</p>
      ) : (
        <Suspense fallback={<Skeleton height={298} />}>
          <ParetoChart
            points={points}
            cost={cost}
            metric={metric}
            winner={sweep.winner?.trial ?? null}
          />
        </Suspense>
      )}
    </Section>
  );
}
