import type { WorkerObject } from '@graft/contracts';
import { SCHEMA_VERSION } from '@graft/contracts/schema-version';
import { useState } from 'react';
import { api } from '../api/api.js';
import { ago, bytes } from '../format.js';
import { useMay } from '../api/own-key.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Row, Table } from '../ui/table.js';

const SIGNS = { online: '●', draining: '◐', offline: '○' } as const;

const COLUMNS = [
  'State',
  'Name',
  'Pool',
  'Slots free',
  'Devices',
  'Memory',
  'Loaded bases',
  'Jobs',
  'Last seen',
];

/** Table of workers, with actions for admins. */
export function WorkerTable({
  workers,
  changed,
}: {
  workers: readonly WorkerObject[];
  changed: () => void;
}) {
  const admin = useMay()('admin');
  const [error, setError] = useState<Error | null>(null);
  const act = (work: Promise<unknown>) => {
    setError(null);
    work.then(changed, setError);
  };
  return (
    <>
      <Failure error={error} />
      <Table columns={admin ? [...COLUMNS, ''] : COLUMNS}>
        {workers.map((worker) => (
          <WorkerRow key={worker.id} worker={worker} act={admin ? act : null} />
        ))}
      </Table>
    </>
  );
}

type Act = (work: Promise<unknown>) => void;

function WorkerRow({ worker, act }: { worker: WorkerObject; act: Act | null }) {
  return (
    <Row>
      <td>
        <span className="state">
          <span aria-hidden="true">{SIGNS[worker.state]}</span> {worker.state}
        </span>
        {worker.cordoned && (
          <div className="silent">
            <span aria-hidden="true">⚠</span> cordoned
          </div>
        )}
        {worker.schema_version < SCHEMA_VERSION && (
          <div className="faint">
            schema version {worker.schema_version} (the API: {SCHEMA_VERSION})
          </div>
        )}
        {worker.cordon_reason && <div className="faint">{worker.cordon_reason}</div>}
      </td>
      <td className="break" title={worker.id}>
        {worker.name}
      </td>
      <td className="break">
        <Link to="/pools/$name" params={{ name: worker.pool }}>
          {worker.pool}
        </Link>
      </td>
      <td className="numbers">
        {worker.free_slots}/{worker.slots}
      </td>
      <td>{worker.devices.join(', ')}</td>
      <td className="numbers">
        {worker.rss_bytes === null ? '–' : bytes(worker.rss_bytes)} of {bytes(worker.memory_bytes)}
      </td>
      <td className="break">{worker.resident_bases.join(', ') || '–'}</td>
      <td className="break">
        {worker.jobs.length === 0 && '–'}
        {worker.jobs.map((job) => (
          <div key={job.id}>
            <Link to="/jobs/$id" params={{ id: job.id }}>
              {job.id}
            </Link>{' '}
            step {job.step}
          </div>
        ))}
      </td>
      <td className="numbers">{ago(worker.last_seen_at)}</td>
      {act && (
        <td className="actions">
          <Orders worker={worker} act={act} />
        </td>
      )}
    </Row>
  );
}

/**
 * Draining ends a process and removing deletes a worker's record, so both require confirmation. A
 * cordon can be undone by a click.
 */
function Orders({
  worker: { id, name, state, cordoned, jobs },
  act,
}: {
  worker: WorkerObject;
  act: Act;
}) {
  const confirm = useConfirm();
  const drain = () => {
    const running =
      jobs.length === 0
        ? ''
        : ` ${jobs.length === 1 ? 'Its job saves a checkpoint and resumes' : `Its ${jobs.length} jobs save checkpoints and resume`} on other workers.`;
    confirm(
      `Drain ${name}?${running} Then its process exits and must be started again.`,
      'Drain',
      () => act(api.orderWorker(id, 'drain')),
    );
  };
  const remove = () =>
    confirm(`Remove ${name} from the list? It reappears when it is started again.`, 'Remove', () =>
      act(api.removeWorker(id)),
    );
  if (state === 'offline')
    return (
      <button aria-label={`Remove ${name}`} onClick={remove}>
        Remove
      </button>
    );
  return (
    <>
      <button
        aria-label={`${cordoned ? 'Uncordon' : 'Cordon'} ${name}`}
        title={
          cordoned
            ? 'New jobs and chats can be assigned again'
            : 'No new jobs or chats; running jobs continue'
        }
        onClick={() => act(api.orderWorker(id, cordoned ? 'uncordon' : 'cordon'))}
      >
        {cordoned ? 'Uncordon' : 'Cordon'}
      </button>
      {state === 'online' && (
        <button aria-label={`Drain ${name}`} onClick={drain}>
          Drain
        </button>
      )}
    </>
  );
}
