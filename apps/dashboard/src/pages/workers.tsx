import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { Failure } from '../parts/failure.js';
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
  return (
    <main>
      <h1>Workers</h1>
      <Failure error={workers.error} />
      {workers.value === null && <Loading error={workers.error} />}
      {workers.value !== null && workers.value.length > 0 && (
        <Table columns={COLUMNS}>
          {workers.value.map((worker) => (
            <Row key={worker.id}>
              <td className="state">
                <span aria-hidden="true">{SIGNS[worker.state]}</span> {worker.state}
              </td>
              <td title={worker.id}>{worker.name}</td>
              <td>{worker.pool}</td>
              <td className="numbers">
                {worker.free_slots}/{worker.slots}
              </td>
              <td>{worker.devices.join(', ')}</td>
              <td className="numbers">
                {worker.rss_bytes === null ? '–' : bytes(worker.rss_bytes)} of{' '}
                {bytes(worker.memory_bytes)}
              </td>
              <td>{worker.resident_bases.join(', ') || '–'}</td>
              <td>
                {worker.jobs.map((job) => (
                  <div key={job.id}>
                    <a {...linkTo(`/jobs/${job.id}`)}>{job.id}</a> step {job.step}
                  </div>
                ))}
              </td>
              <td>{ago(worker.last_seen_at)}</td>
            </Row>
          ))}
        </Table>
      )}
      {workers.value?.length === 0 && (
        <div className="card">
          <h2>No worker yet</h2>
          <p>On the machine with the GPU:</p>
          <pre>npx graft-worker --url grpc://THIS_HOST:PORT --token-file FILE --pool default</pre>
          <p>
            The file holds the join token of the API’s machine (<code>GRAFT_HOME/join-token</code>)
            or one made under <a {...linkTo('/keys')}>Keys</a>.
          </p>
        </div>
      )}
    </main>
  );
}
