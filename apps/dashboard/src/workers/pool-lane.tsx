import type { PoolObject, PoolWaitingJob, WorkerObject } from '@graft/contracts';
import { CirclePause, CirclePlay, Plus, Server, Users } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Button } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { ActionMenu } from '../ui/overlays/menu.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { Consequences, type Intention } from './consequences.js';
import { QueueGantt } from './queue-gantt.js';
import { moveToFront } from './move-to-front.js';
import { accessText, PoolAccess } from './pool-access.js';
import { workersText } from './pool-load.js';
import { PoolQueueList } from './pool-queue-list.js';
import { WorkerRow } from './worker-row.js';

export type LaneView = 'workers' | 'timeline';

interface Props {
  readonly pool: PoolObject;
  readonly workers: readonly WorkerObject[];
  readonly sizes: ReadonlyMap<string, number>;
  readonly view: LaneView;
  /** Whether the page is about this pool, so that the lane has no heading and lists everything. */
  readonly isPage?: boolean;
  readonly changed: () => void;
  readonly addWorker: () => void;
}

/** A pool as a lane: its queue at the left, its workers with their slots at the right. */
export function PoolLane({ pool, workers, sizes, view, isPage = false, ...act }: Props) {
  const queue = useLoaded(['pool-queue', pool.id], () => api.poolQueue(pool.id), 3000);
  const may = useMay();
  const [intention, setIntention] = useState<Intention | null>(null);
  const changed = () => {
    queue.reload();
    act.changed();
  };
  const move = may('jobs:write')
    ? (job: PoolWaitingJob) => setIntention(moveToFront(pool.id, job, changed))
    : null;
  // On the pool's own page the lane has no heading of its own.
  const Heading = isPage ? 'h2' : 'h3';
  const label = `${view === 'timeline' ? 'Timeline of pool' : 'Pool'} ${pool.id}`;
  return (
    <section className={isPage ? 'lane' : 'lane card'} aria-label={label}>
      {!isPage && <LaneHead pool={pool} changed={changed} addWorker={act.addWorker} />}
      <Failure error={queue.error} />
      {view === 'timeline' ? (
        queue.value ? (
          <QueueGantt queue={queue.value} move={move} />
        ) : (
          <Skeleton height={32} rows={4} />
        )
      ) : (
        <div className="lane-body">
          <div className="lane-queue">
            <Heading>
              Queue <span className="badge">{queue.value?.queued ?? pool.queued}</span>
            </Heading>
            {queue.value ? (
              <PoolQueueList queue={queue.value} move={move} isWhole={isPage} />
            ) : (
              <Skeleton height={36} rows={Math.max(1, Math.min(6, pool.queued))} />
            )}
          </div>
          <div className="lane-workers">
            <Heading>
              Workers{' '}
              <span className="faint numbers">
                {pool.slots - pool.free_slots} of {pool.slots} slots busy
              </span>
            </Heading>
            {workers.length === 0 ? (
              <NoWorkers queued={pool.queued} addWorker={may('admin') ? act.addWorker : null} />
            ) : (
              <ul className="workers" aria-label={`Workers of ${pool.id}`}>
                {workers.map((worker) => (
                  <WorkerRow
                    key={worker.id}
                    worker={worker}
                    queue={queue.value}
                    sizes={sizes}
                    changed={may('admin') ? changed : null}
                  />
                ))}
              </ul>
            )}
          </div>
        </div>
      )}
      {intention && <Consequences of={intention} close={() => setIntention(null)} />}
    </section>
  );
}

function NoWorkers({ queued, addWorker }: { queued: number; addWorker: (() => void) | null }) {
  return (
    <EmptyState
      icon={<Server />}
      title="No workers"
      text={
        queued === 0
          ? 'Jobs of this pool will wait until a worker joins.'
          : `${queued === 1 ? '1 job waits' : `${queued} jobs wait`} here until a worker joins.`
      }
      actions={
        addWorker && (
          <Button icon={<Plus />} onClick={addWorker}>
            Add a worker
          </Button>
        )
      }
    />
  );
}

function LaneHead({ pool, changed, addWorker }: Pick<Props, 'pool' | 'changed' | 'addWorker'>) {
  return (
    <div className="lane-head">
      <h2 className="break">
        <Link to="/pools/$name" params={{ name: pool.id }}>
          {pool.id}
        </Link>
      </h2>
      {pool.cordoned && <span className="pill wait">cordoned: no jobs start</span>}
      <span className="faint">
        {workersText(pool)} · {accessText(pool)}
      </span>
      <span className="grow" />
      <PoolActions pool={pool} changed={changed} addWorker={addWorker} />
    </div>
  );
}

/** Actions of an admin on a pool. */
export function PoolActions({
  pool,
  changed,
  addWorker,
}: Pick<Props, 'pool' | 'changed' | 'addWorker'>) {
  const may = useMay();
  const confirm = useConfirm();
  const [showsAccess, setShowsAccess] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  if (!may('admin')) return null;
  const cordon = (on: boolean) => {
    setError(null);
    const work = () => api.cordonPool(pool.id, on).then(changed, setError);
    if (!on) return void work();
    confirm(cordonText(pool), 'Cordon', work);
  };
  return (
    <>
      <Failure error={error} />
      <ActionMenu
        label={`Actions for pool ${pool.id}`}
        actions={[
          { label: 'Add a worker…', icon: <Plus />, act: addWorker },
          { label: 'Access…', icon: <Users />, act: () => setShowsAccess(true) },
          pool.cordoned
            ? { label: 'Uncordon', icon: <CirclePlay />, act: () => cordon(false) }
            : { label: 'Cordon…', icon: <CirclePause />, act: () => cordon(true) },
        ]}
      />
      {showsAccess && (
        <Drawer title={`Access to ${pool.id}`} close={() => setShowsAccess(false)}>
          <PoolAccess pool={pool} changed={changed} />
        </Drawer>
      )}
    </>
  );
}

/** Describes what cordoning a pool does to its jobs. */
export function cordonText({ id, queued, running }: PoolObject): string {
  const jobs = (n: number): string => (n === 1 ? '1 job' : `${n} jobs`);
  const waits =
    queued === 0 ? 'New jobs will wait' : `${jobs(queued)} in the queue and all new ones will wait`;
  const continues = running === 0 ? '' : ` ${jobs(running)} running now will finish.`;
  return `Cordon ${id}? No jobs or chats start on its workers until it is uncordoned. ${waits}.${continues}`;
}
