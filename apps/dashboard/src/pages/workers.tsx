import type { GatewayObject } from '@graft/contracts';
import { workerCommand } from '@graft/contracts/worker-command';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Failure } from '../ui/failure.js';
import { Fold } from '../ui/fold.js';
import { GatewayReach, JoinTokenForm } from '../workers/join-token.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { WorkerTable } from '../workers/worker-table.js';

export function WorkersPage() {
  const workers = useLoaded(['workers'], async () => (await api.workers()).data, 3000);
  const overview = useLoaded(['overview'], api.overview);
  return (
    <main>
      <h1>Workers</h1>
      <Failure error={workers.error} />
      {workers.value === null && <Loading error={workers.error} />}
      {workers.value?.length === 0 && (
        <>
          <h2>No workers yet</h2>
          <p>
            A worker trains jobs and answers chats, on this machine or another. Until one joins,
            jobs wait in the queue.
          </p>
        </>
      )}
      {workers.value !== null && workers.value.length > 0 && (
        <WorkerTable workers={workers.value} changed={workers.reload} />
      )}
      <Failure error={overview.error} />
      {workers.value !== null && overview.value && (
        <AddWorker gateway={overview.value.gateway} first={workers.value.length === 0} />
      )}
    </main>
  );
}

/** Form that adds a worker without leaving the page. */
function AddWorker({ gateway, first }: { gateway: GatewayObject; first: boolean }) {
  const may = useMay();
  return (
    <Fold className="card" title="Add a worker" reason={first}>
      <GatewayReach gateway={gateway} />
      {may('admin') ? (
        <>
          <p>
            Create a join token for the machine and choose the pool whose jobs it will run (
            <code>default</code> if you have only one).
          </p>
          <JoinTokenForm gateway={gateway} made={() => undefined} />
          <p className="faint">
            Tokens are listed, and revoked, under <Link to="/keys">Keys</Link>. A worker on Graft’s
            own host can use <code>GRAFT_HOME/join-token</code>.
          </p>
        </>
      ) : (
        <>
          <p>Ask an admin for a join token, save it to a file on the machine, then run there:</p>
          <pre tabIndex={0} role="region" aria-label="Command for the worker's machine">
            {workerCommand(gateway, { tokenFile: 'token.txt', pool: 'default' })}
          </pre>
        </>
      )}
    </Fold>
  );
}
