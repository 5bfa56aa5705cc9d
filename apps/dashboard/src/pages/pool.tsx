import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { accessText, PoolAccess } from '../workers/pool-access.js';
import { PoolLoad } from '../workers/pool-load.js';
import { WorkerTable } from '../workers/worker-table.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

/** One pool: its load, its workers, and the projects that may use it. */
export function PoolPage({ name }: { name: string }) {
  const pool = useLoaded(['pool', name], () => api.pool(name), 5000);
  const may = useMay();
  useEffect(() => {
    document.title = `${name} · Pools · Graft`;
  }, [name]);
  const [problem, setProblem] = useState<Error | null>(null);
  const confirm = useConfirm();
  const cordon = (on: boolean) => {
    const message = `Cordon ${name}? No jobs or chats start on its workers until it is uncordoned; running jobs continue.`;
    setProblem(null);
    const work = () => api.cordonPool(name, on).then(pool.reload, setProblem);
    if (on) confirm(message, 'Cordon', work);
    else void work();
  };
  if (pool.error instanceof ApiError && pool.error.status === 404)
    return (
      <main>
        <h1>Pool not found</h1>
        <p role="alert">
          There is no pool <code className="break">{name}</code>, or this key’s project may not use
          it. <Link to="/pools">Go to pools</Link>
        </p>
      </main>
    );
  return (
    <main>
      <p className="crumb">
        <Link to="/pools">All pools</Link>
      </p>
      <div className="bar head">
        <h1 className="name">{name}</h1>
        {pool.value?.cordoned && (
          <span className="pill wait">‖ cordoned: no jobs or chats start</span>
        )}
        <span className="grow" />
        {pool.value && may('admin') && (
          <button onClick={() => cordon(!pool.value?.cordoned)}>
            {pool.value.cordoned ? 'Uncordon pool' : 'Cordon pool'}
          </button>
        )}
      </div>
      <Failure error={problem ?? pool.error} />
      {pool.value === null && <Loading error={pool.error} />}
      {pool.value && (
        <>
          <PoolLoad pool={pool.value} />
          <h2>Workers</h2>
          <PoolWorkers name={name} changed={pool.reload} />
          <h2>Access</h2>
          {may('admin') ? (
            <PoolAccess pool={pool.value} changed={pool.reload} />
          ) : (
            <p>{pool.value.open ? 'All projects.' : `${accessText(pool.value)}.`}</p>
          )}
        </>
      )}
    </main>
  );
}

function PoolWorkers({ name, changed }: { name: string; changed: () => void }) {
  const workers = useLoaded(
    ['workers', name],
    async () => (await api.workers()).data.filter(({ pool }) => pool === name),
    3000,
  );
  if (workers.value === null)
    return (
      <>
        <Failure error={workers.error} />
        <Loading error={workers.error} />
      </>
    );
  if (workers.value.length === 0)
    return (
      <p className="faint">
        No workers: queued jobs wait until one joins. <Link to="/workers">Add a worker</Link>.
      </p>
    );
  return (
    <WorkerTable
      workers={workers.value}
      changed={() => {
        workers.reload();
        changed();
      }}
    />
  );
}
