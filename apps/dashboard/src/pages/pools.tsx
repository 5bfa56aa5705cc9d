import type { PoolObject } from '@graft/contracts';
import { api } from '../api/api.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { accessText } from '../workers/pool-access.js';
import { waitText, workersText } from '../workers/pool-load.js';
import { Row, Table } from '../ui/table.js';
import { useLoaded } from '../api/loaded.js';

/** List of pools. */
export function PoolsPage() {
  const pools = useLoaded(['pools'], async () => (await api.pools()).data, 5000);
  return (
    <main>
      <h1>Pools</h1>
      <Failure error={pools.error} />
      {pools.value === null && <Loading error={pools.error} />}
      {pools.value?.length === 0 && (
        <div className="card">
          <h2>No pools yet</h2>
          <p>
            A pool is a group of workers that take jobs from one queue. It appears when its first
            worker joins. <Link to="/workers">Add a worker</Link>.
          </p>
        </div>
      )}
      {pools.value !== null && pools.value.length > 0 && <PoolTable pools={pools.value} />}
    </main>
  );
}

const COLUMNS = ['Pool', 'Queued', 'Longest wait', 'Running', 'Slots free', 'Workers', 'Used by'];

function PoolTable({ pools }: { pools: readonly PoolObject[] }) {
  return (
    <Table columns={COLUMNS}>
      {pools.map((pool) => (
        <Row key={pool.id}>
          <td className="break">
            <Link to="/pools/$name" params={{ name: pool.id }}>
              {pool.id}
            </Link>
            {pool.cordoned && (
              <div className="silent">
                <span aria-hidden="true">⚠</span> cordoned
              </div>
            )}
          </td>
          <td className="numbers">{pool.queued}</td>
          <td className="numbers">{waitText(pool.longest_wait)}</td>
          <td className="numbers">{pool.running}</td>
          <td className="numbers">
            {pool.free_slots}/{pool.slots}
          </td>
          <td>{workersText(pool)}</td>
          <td className="break">{accessText(pool)}</td>
        </Row>
      ))}
    </Table>
  );
}
