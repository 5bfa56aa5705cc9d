import { ROLES } from '@graft/contracts/scopes';
import type { ProjectUserObject, Role } from '@graft/contracts';
import { useContext, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { OwnKey } from '../api/own-key.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';

const ROLE_TEXTS: Readonly<Record<Role, string>> = {
  owner: 'full access to the project, its members, keys and audit log',
  member: 'can run jobs, upload, chat and delete',
  viewer: 'read-only',
};

/** Members of a project and their roles. */
export function Members({ project, archived }: { project: string; archived: boolean }) {
  const members = useLoaded(['members', project], () => api.members(project));
  const own = useContext(OwnKey)?.member?.id ?? null;
  const [error, setError] = useState<Error | null>(null);
  const act = (work: Promise<unknown>) => {
    setError(null);
    work.then(members.reload, (failure: Error) => {
      setError(failure);
      members.reload();
    });
  };
  const confirm = useConfirm();
  const setRole = ({ id, name }: ProjectUserObject, role: Role) => {
    const set = () => act(api.setRole(project, id, role));
    if (id === own && role === 'owner') return set();
    const message =
      id === own
        ? `Make yourself a ${role}? You will no longer manage this project with your keys.`
        : `Make ${name} ${article(role)} ${role}? This applies to their keys immediately.`;
    confirm(message, 'Change role', set);
  };
  const remove = ({ id, name, graft: { keys } }: ProjectUserObject) => {
    const lost =
      keys > 0
        ? ` ${keys === 1 ? 'Their key is' : `Their ${keys} keys are`} revoked: every program that uses ${keys === 1 ? 'it' : 'them'} loses access immediately.`
        : '';
    const self = id === own ? '\n\nThis is you: you will be signed out.' : '';
    const message = `Remove ${name} from the project?${lost} Their jobs and files are kept.${self}`;
    confirm(message, 'Remove', () => act(api.removeMember(project, id)));
  };
  return (
    <>
      {!archived && <AddMember project={project} added={members.reload} />}
      <Failure error={error ?? members.error} />
      {members.value === null && <Loading error={members.error} />}
      {members.value?.length === 0 && (
        <p className="faint">
          No members yet. Add an owner first; then create a key for them under Keys.
        </p>
      )}
      {members.value !== null && members.value.length > 0 && (
        <Table columns={['Name', 'Role', 'Keys', 'Last active', 'Added', '']}>
          {members.value.map((member) => (
            <MemberRow
              key={member.id}
              member={member}
              you={member.id === own}
              setRole={archived ? null : (role) => setRole(member, role)}
              remove={() => remove(member)}
            />
          ))}
        </Table>
      )}
    </>
  );
}

interface RowProps {
  readonly member: ProjectUserObject;
  readonly you: boolean;
  /** Null if the role cannot be changed. */
  readonly setRole: ((role: Role) => void) | null;
  readonly remove: () => void;
}

function MemberRow({ member, you, setRole, remove }: RowProps) {
  const { id, name, role, graft, added_at: added } = member;
  return (
    <Row>
      <td className="break" title={id}>
        {name}
        {you && <span className="faint"> (you)</span>}
      </td>
      <td>
        {setRole === null ? (
          role
        ) : (
          <select
            aria-label={`Role of ${name}`}
            value={role}
            onChange={(e) => setRole(e.target.value as Role)}
          >
            {ROLES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        )}
      </td>
      <td className="numbers">{graft.keys}</td>
      <td className="numbers">{graft.last_used_at === null ? 'never' : ago(graft.last_used_at)}</td>
      <td className="numbers" title={moment(added)}>
        {ago(added)}
      </td>
      <td className="actions">
        <button aria-label={`Remove ${name}`} onClick={remove}>
          Remove
        </button>
      </td>
    </Row>
  );
}

const article = (role: Role): string => (role === 'owner' ? 'an' : 'a');

function AddMember({ project, added }: { project: string; added: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('member');
  const [error, setError] = useState<Error | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api.addMember(project, name.trim(), role).then(() => {
      setName('');
      added();
    }, setError);
  };
  return (
    <>
      <form className="bar" onSubmit={submit}>
        <label className="field">
          Name or email
          <input
            required
            maxLength={100}
            aria-label="Name of the new member"
            placeholder="ada@example.org"
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <label className="field">
          Role
          <select
            aria-label="Role of the new member"
            value={role}
            onChange={(e) => setRole(e.target.value as Role)}
          >
            {ROLES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <Button type="submit" variant="primary" className="bottom">
          Add member
        </Button>
        <span className="faint bottom">
          {role}: {ROLE_TEXTS[role]}
        </span>
      </form>
      <Failure error={error} />
    </>
  );
}
