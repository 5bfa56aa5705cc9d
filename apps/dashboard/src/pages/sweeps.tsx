import type { SweepObject } from '@graft/contracts';
import { METRIC_NAMES, scoreText, trialCountsText } from '@graft/contracts/sweep-text';
import { Plus, Split } from 'lucide-react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { ago, moment } from '../format.js';
import { ButtonLink } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { StateDot } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';

/** List of sweeps. */
export function SweepsPage() {
  const sweeps = useLoaded(['sweeps'], api.sweeps, 5000);
  const list = sweeps.value?.data;
  return (
    <Page title="Sweeps" width="full" actions={list && list.length > 0 && <NewSweep />}>
      <Failure error={sweeps.error} />
      {!list && !sweeps.error && <Skeleton height={36} rows={6} />}
      {list?.length === 0 && (
        <EmptyState
          icon={<Split />}
          title="No sweeps yet"
          text="A sweep trains variations of a job at the same time, with different methods, ranks or learning rates, and finds the best one. Its trials share one base model in memory."
          actions={<NewSweep />}
        />
      )}
      {list && list.length > 0 && (
        <Table
          columns={['Sweep', 'State', 'Trials', 'Best result', 'Base', 'Created']}
          numbers={['Best result', 'Created']}
        >
          {list.map((sweep) => (
            <Row key={sweep.id}>
              <td className="break">
                <Link to="/sweeps/$id" params={{ id: sweep.id }}>
                  {sweep.name}
                </Link>
              </td>
              <td>
                <StateDot status={sweep.status} />
              </td>
              <td>
                <Trials sweep={sweep} />
              </td>
              <td>
                {sweep.winner ? (
                  <>
                    <b>{scoreText(sweep.winner.score, sweep.search.metric)}</b>{' '}
                    <span className="faint">{METRIC_NAMES[sweep.search.metric]}</span>
                  </>
                ) : (
                  '–'
                )}
              </td>
              <td className="break">{sweep.model}</td>
              <td title={moment(sweep.created_at)}>{ago(sweep.created_at)}</td>
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
    </Page>
  );
}

function NewSweep() {
  const may = useMay();
  if (!may('jobs:write', 'models:read', 'files:read')) return null;
  return (
    <ButtonLink variant="primary" icon={<Plus />} to="/new">
      New sweep
    </ButtonLink>
  );
}

/** Share of the trials that have ended, and their counts. */
function Trials({ sweep }: { sweep: SweepObject }) {
  const { succeeded, failed, cancelled, total } = sweep.trial_counts;
  const done = succeeded + failed + cancelled;
  return (
    <span className="row-progress">
      {done < total && (
        <progress value={done} max={total} aria-label={`${done} of ${total} trials ended`} />
      )}
      {trialCountsText(sweep)}
    </span>
  );
}
