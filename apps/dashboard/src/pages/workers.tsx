import type { GatewayObject, WorkerObject } from '@graft/contracts';
import { workerCommand } from '@graft/contracts/worker-command';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { useMay } from '../own-key.js';
import { Failure } from '../parts/failure.js';
import { Fold } from '../parts/fold.js';
import { GatewayReach, JoinTokenForm } from '../parts/join-token.js';
import { Loading } from '../parts/loading.js';
import { Row, Table } from '../parts/table.js';
import { ago, bytes } from '../wording.js';

const SIGNS = { online: '●', draining: '◐', offline: '○' } as const;

const COLUMNS = [
  'State',
  'Name',
  'Pool',
  'Slots free',
  'Devices',
  'Memory',
  'Resident bases',
  'Jobs',
  'Seen',
];

export function WorkersPage() {
  const workers = useLoaded(async () => (await api.workers()).data, 3000);
  const overview = useLoaded(api.overview);
  return (
    <main>
      <h1>Workers</h1>
      <Failure error={workers.error} />
      {workers.value === null && <Loading error={workers.error} />}
      {workers.value?.length === 0 && <h2>No worker yet</h2>}
      {workers.value !== null && workers.value.length > 0 && (
        <WorkerTable workers={workers.value} />
      )}
      <Failure error={overview.error} />
      {workers.value !== null && overview.value && (
        <AddWorker gateway={overview.value.gateway} first={workers.value.length === 0} />
      )}
    </main>
  );
}

function WorkerTable({ workers }: { workers: readonly WorkerObject[] }) {
  return (
    <Table columns={COLUMNS}>
      {workers.map((worker) => (
        <Row key={worker.id}>
          <td className="state">
            <span aria-hidden="true">{SIGNS[worker.state]}</span> {worker.state}
          </td>
          <td className="break" title={worker.id}>
            {worker.name}
          </td>
          <td>{worker.pool}</td>
          <td className="numbers">
            {worker.free_slots}/{worker.slots}
          </td>
          <td>{worker.devices.join(', ')}</td>
          <td className="numbers">
            {worker.rss_bytes === null ? '–' : bytes(worker.rss_bytes)} of{' '}
            {bytes(worker.memory_bytes)}
          </td>
          <td className="break">{worker.resident_bases.join(', ') || '–'}</td>
          <td>
            {worker.jobs.length === 0 && '–'}
            {worker.jobs.map((job) => (
              <div key={job.id}>
                <a {...linkTo(`/jobs/${job.id}`)}>{job.id}</a> step {job.step}
              </div>
            ))}
          </td>
          <td className="numbers">{ago(worker.last_seen_at)}</td>
        </Row>
      ))}
    </Table>
  );
}

/** From nothing to one worker more, without another page. */
function AddWorker({ gateway, first }: { gateway: GatewayObject; first: boolean }) {
  const may = useMay();
  return (
    <Fold className="card" title="Add a worker" reason={first}>
      <GatewayReach gateway={gateway} />
      {may('admin') ? (
        <>
          <p>
            Make a join token for the machine, and choose the pool of jobs it works on (
            <code>default</code> where you have only one).
          </p>
          <JoinTokenForm gateway={gateway} made={() => undefined} />
          <p className="faint">
            Tokens are listed, and revoked, under <a {...linkTo('/keys')}>Keys</a>. A worker on
            Graft’s own host may take <code>GRAFT_HOME/join-token</code>.
          </p>
        </>
      ) : (
        <>
          <p>Ask an admin for a join token, put it into a file on the machine, and run there:</p>
          <pre tabIndex={0} role="region" aria-label="Command for the worker's machine">
            {workerCommand(gateway, { tokenFile: 'token.txt', pool: 'default' })}
          </pre>
        </>
      )}
    </Fold>
  );
}
