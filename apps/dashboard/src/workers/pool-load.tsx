import type { PoolObject, PoolSampleObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { Figure } from '../ui/figure.js';
import { Sparkline } from '../charts/sparkline.js';

export const waitText = (seconds: number | null): string =>
  seconds === null ? '–' : duration(seconds);

/** Returns "3 online, 1 draining". */
export function workersText({ workers }: PoolObject): string {
  const some = (['online', 'draining', 'cordoned', 'offline'] as const).filter(
    (state) => workers[state] > 0,
  );
  return some.map((state) => `${workers[state]} ${state}`).join(', ') || 'none';
}

const CURVES: readonly (readonly [keyof PoolSampleObject, string])[] = [
  ['queued', 'Queued'],
  ['running', 'Running'],
  ['free_slots', 'Free slots'],
];

/** Current load of a pool, and its load over the last hour. */
export function PoolLoad({ pool }: { pool: PoolObject }) {
  const load = pool.load ?? [];
  return (
    <>
      <dl className="strip">
        <Figure name="queued" value={String(pool.queued)} />
        <Figure name="longest wait" value={waitText(pool.longest_wait)} />
        <Figure name="median wait" value={waitText(pool.median_wait)} />
        <Figure name="running" value={String(pool.running)} />
        <Figure name="slots free" value={`${pool.free_slots}/${pool.slots}`} />
        <Figure name="workers" value={workersText(pool)} />
      </dl>
      <h2>The last hour</h2>
      {load.length < 2 ? (
        <p className="faint">A curve appears here within two minutes.</p>
      ) : (
        <dl className="facts">
          {CURVES.map(([name, title]) => (
            <Curve key={name} title={title} values={load.map((sample) => sample[name])} />
          ))}
        </dl>
      )}
    </>
  );
}

function Curve({ title, values }: { title: string; values: readonly number[] }) {
  const most = Math.max(...values);
  return (
    <div>
      <dt>{title}</dt>
      <dd>
        <Sparkline
          values={values}
          width={260}
          height={48}
          floor={0}
          label={`${title} over the last hour: peak ${most}, now ${values.at(-1)}`}
        />
        <div className="faint">
          peak {most}, now {values.at(-1)}
        </div>
      </dd>
    </div>
  );
}
