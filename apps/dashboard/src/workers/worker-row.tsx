import type { PoolQueueObject, PoolRunningJob, WorkerObject } from '@graft/contracts';
import { SCHEMA_VERSION } from '@graft/contracts/schema-version';
import { bytes, count } from '../format.js';
import { JobName } from './pool-queue-list.js';
import { about, jobTitle } from './queue-text.js';
import { WorkerActions } from './worker-actions.js';
import { workerState } from './worker-state.js';

interface Props {
  readonly worker: WorkerObject;
  readonly queue: PoolQueueObject | null;
  /** Sizes of base models in bytes, by name. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Null for keys that may not change workers. */
  readonly changed: (() => void) | null;
}

/** A worker: its state, its memory with the loaded base models, and its slots. */
export function WorkerRow({ worker, queue, sizes, changed }: Props) {
  const now = queue?.at ?? worker.last_seen_at;
  const { tone, text } = workerState(worker);
  const running = (queue?.running ?? []).filter((job) => job.worker === worker.id);
  return (
    <li className={`worker ${worker.state}`} aria-label={worker.name}>
      <div className="worker-head">
        <b className="break" title={worker.id}>
          {worker.name}
        </b>
        <span className={`worker-state ${tone}`}>
          <span className="dot" aria-hidden="true" />
          {text}
        </span>
        {worker.schema_version < SCHEMA_VERSION && (
          <span className="worker-state warn">older build: upgrade it</span>
        )}
        <span className="grow" />
        {changed && <WorkerActions worker={worker} changed={changed} />}
      </div>
      {worker.cordon_reason && <p className="worker-note">{worker.cordon_reason}</p>}
      <Facts worker={worker} sizes={sizes} />
      <Slots worker={worker} running={running} now={now} />
    </li>
  );
}

function Facts({ worker, sizes }: Pick<Props, 'worker' | 'sizes'>) {
  const { rss_bytes: used, memory_bytes: memory } = worker;
  return (
    <div className="worker-facts">
      <span>{deviceText(worker.devices)}</span>
      <span className="memory">
        <meter
          min={0}
          max={memory}
          value={used ?? 0}
          aria-label={`Memory of ${worker.name} in use`}
        />
        <span className="numbers">
          {used === null ? '–' : bytes(used)} of {bytes(memory)}
        </span>
      </span>
      {worker.resident_bases.map((base) => (
        <span key={base} className="resident" title={`${base} is loaded in memory`}>
          {base}
          {sizes.has(base) && <small> {bytes(sizes.get(base) ?? 0)}</small>}
        </span>
      ))}
    </div>
  );
}

/** Returns "CPU" or "2 × cuda". */
export function deviceText(devices: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const device of devices) {
    const kind = device.replace(/:\d+$/, '');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return (
    [...counts]
      .map(([kind, n]) => `${n > 1 ? `${n} × ` : ''}${kind === 'cpu' ? 'CPU' : kind}`)
      .join(', ') || 'no device'
  );
}

interface SlotsProps {
  readonly worker: WorkerObject;
  readonly running: readonly PoolRunningJob[];
  readonly now: number;
}

/** The slots of a worker as cells: its jobs, and the free ones. */
function Slots({ worker, running, now }: SlotsProps) {
  const rest = Math.max(0, worker.slots - running.length);
  const isOffline = worker.state === 'offline';
  const free = isOffline ? 0 : Math.min(rest, worker.free_slots);
  return (
    <ul className="slots" aria-label={`Slots of ${worker.name}`}>
      {running.map((job, n) => (
        <JobCell key={job.id ?? `other ${n}`} job={job} now={now} />
      ))}
      {Array.from({ length: rest }, (_, n) => (
        <li key={n} className="slot">
          {isOffline ? 'not available' : n >= free ? 'reserved' : emptySlot(worker)}
        </li>
      ))}
    </ul>
  );
}

const emptySlot = ({ cordoned, state }: WorkerObject): string =>
  cordoned || state === 'draining' ? 'takes no jobs' : 'free';

function JobCell({ job, now }: { job: PoolRunningJob; now: number }) {
  const { step, total_steps: total, estimated_finish: end } = job;
  const left = end === null ? null : Math.max(0, end - now);
  return (
    <li className="slot busy">
      <JobName job={job} />
      {step !== null && total !== null ? (
        <progress
          value={step}
          max={Math.max(1, total)}
          aria-label={`Progress of ${jobTitle(job)}`}
        />
      ) : (
        <progress aria-hidden="true" value={0} max={1} />
      )}
      <small className="numbers">
        {step !== null && total !== null ? `${count(step)}/${count(total)}` : 'running'}
        {left !== null && left >= 1 && ` · ${about(left)} left`}
      </small>
    </li>
  );
}
