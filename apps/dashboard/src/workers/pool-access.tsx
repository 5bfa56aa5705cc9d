import type { PoolGrantObject, PoolObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Row, Table } from '../ui/table.js';

/** Returns "all projects", or the number of projects with access. Owners see only whether the pool is open. */
export function accessText({ open, grants }: PoolObject): string {
  if (open) return 'all projects';
  if (!grants) return 'granted to this project';
  if (grants.length === 0) return 'no project';
  return grants.length === 1 ? (grants[0]?.project_name ?? '') : `${grants.length} projects`;
}

/** Projects that may use a pool, with controls for admins. */
export function PoolAccess({ pool, changed }: { pool: PoolObject; changed: () => void }) {
  const projects = useLoaded(['projects'], api.projects);
  const [chosen, setChosen] = useState('');
  const [error, setError] = useState<Error | null>(null);
  const act = (work: Promise<unknown>) => {
    setError(null);
    work.then(changed, setError);
  };
  const grants = pool.grants ?? [];
  const rest = (projects.value ?? []).filter(
    ({ id, status }) =>
      status === 'active' && grants.every(({ project_id: granted }) => granted !== id),
  );
  const target = rest.find(({ id }) => id === chosen) ?? rest[0];
  const confirm = useConfirm();
  const grant = (event: FormEvent) => {
    event.preventDefault();
    if (!target) return;
    const message = `Grant ${pool.id} to ${target.name}? This closes the pool to every other project: their queued jobs will wait; running jobs continue.`;
    const work = () => act(api.grantPool(pool.id, target.id));
    if (pool.open) confirm(message, 'Grant', work);
    else work();
  };
  const revoke = (id: string, name: string) => {
    const last = grants.length === 1 ? ' The pool will then be closed to all projects.' : '';
    const message = `Revoke ${name}’s access to ${pool.id}? Its queued jobs in this pool will wait until access is granted again; running jobs continue.${last}`;
    confirm(message, 'Revoke', () => act(api.revokePool(pool.id, id)));
  };
  const open = () => {
    const message = `Open ${pool.id} to all projects, including those created later?`;
    confirm(message, 'Open', () => act(api.setPoolOpen(pool.id, true)));
  };
  return (
    <>
      <p className="bar">
        {pool.open
          ? 'Every project may use this pool. Granting it to one closes it to all others.'
          : grants.length === 0
            ? 'No project may use this pool.'
            : 'Only these projects may use this pool.'}
        {!pool.open && <button onClick={open}>Open to all projects</button>}
      </p>
      {target && (
        <form className="bar" onSubmit={grant}>
          <label className="field">
            Project
            <select
              aria-label="Project to grant it to"
              value={target.id}
              onChange={(e) => setChosen(e.target.value)}
            >
              {rest.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <button className="bottom">Grant</button>
        </form>
      )}
      <Failure error={error ?? projects.error} />
      {!pool.open && grants.length > 0 && <Grants grants={grants} revoke={revoke} />}
    </>
  );
}

interface GrantsProps {
  readonly grants: readonly PoolGrantObject[];
  readonly revoke: (id: string, name: string) => void;
}

function Grants({ grants, revoke }: GrantsProps) {
  return (
    <Table columns={['Project', 'Granted', '']}>
      {grants.map(({ project_id: id, project_name: name, granted_at: at }) => (
        <Row key={id}>
          <td className="break">
            <Link to="/projects/$id" params={{ id }}>
              {name}
            </Link>
          </td>
          <td className="numbers" title={moment(at)}>
            {ago(at)}
          </td>
          <td className="actions">
            <button aria-label={`Revoke ${name}`} onClick={() => revoke(id, name)}>
              Revoke
            </button>
          </td>
        </Row>
      ))}
    </Table>
  );
}
