import type { PoolObject, WorkerObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { Plus, Server } from 'lucide-react';
import { useMemo, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay, useMayRequest } from '../api/own-key.js';
import { Button } from '../ui/controls/button.js';
import { Segmented } from '../ui/controls/segmented.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { Stat, Stats } from '../ui/stat.js';
import { AddWorker } from '../workers/add-worker.js';
import { waitText } from '../workers/pool-load.js';
import { PoolLane, type LaneView } from '../workers/pool-lane.js';

const NO_SIZES: ReadonlyMap<string, number> = new Map();

/** Sizes of base models in bytes, by name. Empty for keys that may not list models. */
export function useModelSizes(): ReadonlyMap<string, number> {
  const may = useMayRequest()('models:read');
  const models = useLoaded(['models', may], async () => (may ? (await api.models()).data : []));
  return useMemo(
    () =>
      models.value === null
        ? NO_SIZES
        : new Map(models.value.flatMap(({ id, graft }) => (graft ? [[id, graft.bytes]] : []))),
    [models.value],
  );
}

/** The cluster at a glance: a lane for each pool, with its queue, its workers and their slots. */
export function ClusterPage({ isTimeline }: { isTimeline: boolean }) {
  const view: LaneView = isTimeline ? 'timeline' : 'workers';
  const pools = useLoaded(['pools'], async () => (await api.pools()).data, 3000);
  const workers = useLoaded(['workers'], async () => (await api.workers()).data, 3000);
  const sizes = useModelSizes();
  const navigate = useNavigate();
  const [added, setAdded] = useState<string | null>(null);
  const may = useMay();
  const list = pools.value;
  const changed = () => {
    pools.reload();
    workers.reload();
  };
  return (
    <Page
      title="Cluster"
      width="full"
      actions={
        <>
          <Segmented
            label="View"
            value={view}
            choices={[
              ['workers', 'Workers'],
              ['timeline', 'Timeline'],
            ]}
            change={(next) =>
              void navigate({
                to: '/cluster',
                search: next === 'timeline' ? { view: next } : {},
                replace: true,
                resetScroll: false,
              })
            }
          />
          {may('admin') && (
            <Button variant="primary" icon={<Plus />} onClick={() => setAdded('default')}>
              Add a worker
            </Button>
          )}
        </>
      }
    >
      <Failure error={pools.error ?? workers.error} />
      <Totals pools={list} workers={workers.value} />
      {list === null || workers.value === null ? (
        !pools.error && <Skeleton height={220} rows={2} />
      ) : (
        <>
          {workers.value.length === 0 && <NoWorkersYet add={() => setAdded('default')} />}
          {list
            .filter(({ queued }) => queued > 0 || (workers.value ?? []).length > 0)
            .map((pool) => (
              <PoolLane
                key={pool.id}
                pool={pool}
                workers={(workers.value ?? []).filter((worker) => worker.pool === pool.id)}
                sizes={sizes}
                view={view}
                changed={changed}
                addWorker={() => setAdded(pool.id)}
              />
            ))}
        </>
      )}
      {added !== null && <AddWorker pool={added} close={() => setAdded(null)} />}
    </Page>
  );
}

const NoWorkersYet = ({ add }: { add: () => void }) => (
  <EmptyState
    icon={<Server />}
    title="No workers yet"
    text="A worker trains jobs and answers chats, on this machine or another. Until one joins, jobs wait in the queue."
    actions={
      <Button icon={<Plus />} onClick={add}>
        Add a worker
      </Button>
    }
  />
);

interface TotalsProps {
  readonly pools: readonly PoolObject[] | null;
  readonly workers: readonly WorkerObject[] | null;
}

function Totals({ pools, workers }: TotalsProps) {
  const sum = (of: (pool: PoolObject) => number): number =>
    (pools ?? []).reduce((total, pool) => total + of(pool), 0);
  const value = (text: string): string => (pools === null || workers === null ? '–' : text);
  const slots = sum((pool) => pool.slots);
  const offline = (workers ?? []).filter(({ state }) => state === 'offline').length;
  const waits = (pools ?? []).flatMap(({ longest_wait: wait }) => (wait === null ? [] : [wait]));
  return (
    <Stats label="Cluster">
      <Stat
        label="Slots busy"
        value={value(`${slots - sum((pool) => pool.free_slots)} of ${slots}`)}
      />
      <Stat label="Jobs running" value={value(String(sum(({ running }) => running)))} />
      <Stat label="Jobs queued" value={value(String(sum(({ queued }) => queued)))} />
      <Stat
        label="Longest wait"
        value={value(waitText(waits.length === 0 ? null : Math.max(...waits)))}
      />
      <Stat
        label="Workers online"
        value={value(`${(workers ?? []).length - offline} of ${(workers ?? []).length}`)}
        {...(offline > 0 && { tone: 'warn' as const })}
      />
    </Stats>
  );
}
