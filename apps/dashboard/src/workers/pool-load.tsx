import type { PoolObject, PoolSampleObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { Sparkline } from '../charts/sparkline.js';
import { Section } from '../ui/page.js';
import { Stat, Stats } from '../ui/stat.js';

export const waitText = (seconds: number | null): string =>
  seconds === null ? '–' : duration(seconds);

/** Returns "3 online, 1 draining". */
export function workersText({ workers }: PoolObject): string {
  const some = (['online', 'draining', 'cordoned', 'offline'] as const).filter(
    (state) => workers[state] > 0,
  );
  return some.map((state) => `${workers[state]} ${state}`).join(', ') || 'no workers';
}

/** Current load of a pool. */
export function PoolStats({ pool }: { pool: PoolObject }) {
  return (
    <Stats label="Load">
      <Stat label="Slots busy" value={`${pool.slots - pool.free_slots} of ${pool.slots}`} />
      <Stat label="Running" value={pool.running} />
      <Stat label="Queued" value={pool.queued} />
      <Stat
        label="Longest wait"
        value={waitText(pool.longest_wait)}
        note={`median ${waitText(pool.median_wait)}`}
      />
      <Stat label="Workers" value={workersText(pool)} />
    </Stats>
  );
}

const CURVES: readonly (readonly [keyof PoolSampleObject, string])[] = [
  ['queued', 'Queued'],
  ['running', 'Running'],
  ['free_slots', 'Free slots'],
];

/** Load of a pool over the last hour. */
export function PoolHistory({ pool }: { pool: PoolObject }) {
  const load = pool.load ?? [];
  return (
    <Section title="The last hour">
      {load.length < 2 ? (
        <p className="faint">A curve appears here within two minutes.</p>
      ) : (
        <Stats label="The last hour">
          {CURVES.map(([name, title]) => (
            <Curve key={name} title={title} values={load.map((sample) => sample[name])} />
          ))}
        </Stats>
      )}
    </Section>
  );
}

function Curve({ title, values }: { title: string; values: readonly number[] }) {
  const most = Math.max(...values);
  return (
    <Stat
      label={title}
      value={
        <Sparkline
          values={values}
          width={260}
          height={48}
          floor={0}
          label={`${title} over the last hour: peak ${most}, now ${values.at(-1)}`}
        />
      }
      note={`peak ${most}, now ${values.at(-1)}`}
    />
  );
}
