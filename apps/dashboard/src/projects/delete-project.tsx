import type { ProjectDeletionObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { bytes, count, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Modal } from '../ui/overlays/modal.js';
import { Row, Table } from '../ui/table.js';

export function DeleteProjectButton({ id, deleted }: { id: string; deleted: () => void }) {
  const [isOpen, setIsOpen] = useState(false);
  const close = () => setIsOpen(false);
  const done = () => {
    close();
    deleted();
  };
  return (
    <>
      <Button variant="danger" onClick={() => setIsOpen(true)}>
        Delete project
      </Button>
      {isOpen && <DeleteProject id={id} close={close} deleted={done} />}
    </>
  );
}

/** Dialog that lists what is deleted with a project. The user must type its name. */
function DeleteProject({
  id,
  close,
  deleted,
}: {
  id: string;
  close: () => void;
  deleted: () => void;
}) {
  const deletion = useLoaded(['project-deletion', id], () => api.projectDeletion(id));
  const [typed, setTyped] = useState('');
  const [error, setError] = useState<Error | null>(null);
  const { value } = deletion;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    api.deleteProject(id).then(deleted, setError);
  };
  return (
    <Modal label="Delete project" close={close}>
      <h2 className="break">Delete {value?.name ?? id}?</h2>
      <Failure error={error ?? deletion.error} />
      {value === null ? (
        <Loading error={deletion.error} />
      ) : (
        <form onSubmit={submit}>
          <p>
            Its keys stop working and its open jobs are cancelled immediately. The objects in the
            table are deleted on {moment(value.deletes_at)}; until then you can restore the project.
            Its {many(value, 'audit_logs', value.keeps.audit_logs)} audit log entries are kept.
          </p>
          <Table columns={['Deleted', 'Count']}>
            {partsOf(value).map(([what, number]) => (
              <Row key={what}>
                <td>{what}</td>
                <td className="numbers">{number}</td>
              </Row>
            ))}
          </Table>
          <label className="field">
            Type {value.name} to confirm
            <input
              aria-label="Name of the project to delete"
              autoComplete="off"
              value={typed}
              onChange={(e) => setTyped(e.target.value)}
            />
          </label>
          <div className="bar">
            <span className="grow" />
            <Button onClick={close}>Cancel</Button>
            <Button type="submit" variant="danger" disabled={typed.trim() !== value.name}>
              Delete project
            </Button>
          </div>
        </form>
      )}
    </Modal>
  );
}

/** Formats a count. The API stops counting at a maximum. */
const many = ({ at_least }: ProjectDeletionObject, what: string, number: number): string =>
  at_least.includes(what) ? `at least ${count(number)}` : count(number);

function partsOf(deletion: ProjectDeletionObject): (readonly [string, string])[] {
  const { jobs, stored_bytes: stored, ...counts } = deletion.deletes;
  const spaced = (name: string): string => name.replaceAll('_', ' ');
  return [
    ...Object.entries(jobs)
      .filter(([, number]) => number > 0)
      .map(([status, number]) => [`jobs, ${status}`, many(deletion, 'jobs', number)] as const),
    ...Object.entries(counts)
      .filter(([, number]) => number > 0)
      .map(([name, number]) => [spaced(name), many(deletion, name, number)] as const),
    ['stored', bytes(stored)],
  ];
}
