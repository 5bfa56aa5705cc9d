import { scoreText, trialCountsText } from '@graft/contracts/sweep-text';
import { api } from '../api/api.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { StatePill } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';

/** List of sweeps. */
export function SweepsPage() {
  const sweeps = useLoaded(['sweeps'], api.sweeps, 5000);
  return (
    <main>
      <h1>Sweeps</h1>
      <Failure error={sweeps.error} />
      {sweeps.value === null && <Loading error={sweeps.error} />}
      {sweeps.value?.data.length === 0 && (
        <div className="card">
          <h2>No sweeps yet</h2>
          <p>
            A sweep runs variations of a job, with different ranks, learning rates or methods.
            Create one under <Link to="/new">New job</Link>, “Several jobs: a sweep”, or with{' '}
            <code>graft sweeps create</code>.
          </p>
        </div>
      )}
      {sweeps.value !== null && sweeps.value.data.length > 0 && (
        <Table columns={['Sweep', 'Base', 'State', 'Trials', 'Best', 'Added']}>
          {sweeps.value.data.map((sweep) => (
            <Row key={sweep.id}>
              <td className="break">
                <Link to="/sweeps/$id" params={{ id: sweep.id }}>
                  {sweep.name}
                </Link>
              </td>
              <td className="break">{sweep.model}</td>
              <td>
                <StatePill status={sweep.status} />
              </td>
              <td>{trialCountsText(sweep)}</td>
              <td className="numbers">
                {scoreText(sweep.winner?.score ?? null, sweep.search.metric)}
              </td>
              <td className="numbers" title={moment(sweep.created_at)}>
                {ago(sweep.created_at)}
              </td>
            </Row>
          ))}
        </Table>
      )}
      {sweeps.value?.has_more && (
        <p className="faint">
          Showing the newest {sweeps.value.data.length}. Use{' '}
          <code>graft sweeps list --limit 1000</code> to see older ones.
        </p>
      )}
    </main>
  );
}
