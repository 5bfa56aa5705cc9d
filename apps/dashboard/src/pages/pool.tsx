import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { ApiError } from '../api/request.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Page, Section } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { AddWorker } from '../workers/add-worker.js';
import { accessText, PoolAccess } from '../workers/pool-access.js';
import { PoolHistory, PoolStats } from '../workers/pool-load.js';
import { PoolActions, PoolLane } from '../workers/pool-lane.js';
import { useModelSizes } from './cluster.js';

/** One pool: its queue and workers, its timeline, its last hour, and the projects that may use it. */
export function PoolPage({ name }: { name: string }) {
  const pool = useLoaded(['pool', name], () => api.pool(name), 3000);
  const workers = useLoaded(['workers'], async () => (await api.workers()).data, 3000);
  const sizes = useModelSizes();
  const [isAdding, setAdding] = useState(false);
  const may = useMay();
  useEffect(() => {
    document.title = `${name} · Cluster · Graft`;
  }, [name]);
  if (pool.error instanceof ApiError && pool.error.status === 404)
    return (
      <Page title="Pool not found" crumbs={[<Link to="/cluster">Cluster</Link>]}>
        <p role="alert">
          There is no pool <code className="break">{name}</code>, or this key’s project may not use
          it. <Link to="/cluster">Go to the cluster</Link>
        </p>
      </Page>
    );
  const changed = () => {
    pool.reload();
    workers.reload();
  };
  const lane = pool.value && {
    pool: pool.value,
    workers: (workers.value ?? []).filter((worker) => worker.pool === name),
    sizes,
    changed,
    addWorker: () => setAdding(true),
    isPage: true,
  };
  return (
    <Page
      title={name}
      width="full"
      crumbs={[<Link to="/cluster">Cluster</Link>]}
      status={
        pool.value?.cordoned && <span className="pill wait">cordoned: no jobs or chats start</span>
      }
      actions={
        pool.value && (
          <PoolActions pool={pool.value} changed={changed} addWorker={() => setAdding(true)} />
        )
      }
    >
      <Failure error={pool.error} />
      {lane === null || workers.value === null ? (
        !pool.error && <Skeleton height={140} rows={3} />
      ) : (
        <>
          <PoolStats pool={lane.pool} />
          <PoolLane {...lane} view="workers" />
          <Section title="Timeline">
            <PoolLane {...lane} view="timeline" />
          </Section>
          <PoolHistory pool={lane.pool} />
          <Section title="Access">
            {may('admin') ? (
              <PoolAccess pool={lane.pool} changed={changed} />
            ) : (
              <p>{lane.pool.open ? 'All projects.' : `${accessText(lane.pool)}.`}</p>
            )}
          </Section>
        </>
      )}
      {isAdding && <AddWorker pool={name} close={() => setAdding(false)} />}
    </Page>
  );
}
