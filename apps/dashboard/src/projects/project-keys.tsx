import type { KeyOwner, ProjectApiKeyObject, ProjectUserObject } from '@graft/contracts';
import { ROLE_SCOPES } from '@graft/contracts/scopes';
import { useContext, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { OwnKey } from '../api/own-key.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Secret } from '../ui/secret.js';
import { Row, Table } from '../ui/table.js';

const DAY = 86_400;
const LIFETIMES = [
  ['', 'never'],
  ['30', 'in 30 days'],
  ['90', 'in 90 days'],
  ['365', 'in a year'],
] as const;

const ownerName = (owner: KeyOwner): string =>
  owner.type === 'user' ? `${owner.user.name} (${owner.user.role})` : 'the project itself';

/** API keys of a project by member. */
export function ProjectKeys({ project, archived }: { project: string; archived: boolean }) {
  const keys = useLoaded(['project-keys', project], () => api.projectKeys(project));
  const members = useLoaded(['members', project], () => api.members(project));
  const own = useContext(OwnKey)?.id;
  const [made, setMade] = useState<ProjectApiKeyObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const confirm = useConfirm();
  const revoke = (key: ProjectApiKeyObject) => {
    const self =
      key.id === own ? '\n\nYou are signed in with this key and will be signed out.' : '';
    const text = `Revoke ${key.name}? Every program that uses it loses access immediately. This cannot be undone.${self}`;
    setError(null);
    confirm(text, 'Revoke', () =>
      api.revokeProjectKey(project, key.id).then(keys.reload, setError),
    );
  };
  const sorted = [...(keys.value ?? [])].sort((a, b) =>
    ownerName(a.owner).localeCompare(ownerName(b.owner)),
  );
  return (
    <>
      {!archived && members.value && (
        <KeyForm
          project={project}
          members={members.value}
          made={(key) => {
            setMade(key);
            keys.reload();
          }}
        />
      )}
      {archived && <p className="faint">The project is archived: its keys do not work.</p>}
      <Failure error={error ?? keys.error ?? members.error} />
      {made?.value && <Secret of={made.name} secret={made.value} />}
      {keys.value === null && <Loading error={keys.error} />}
      {keys.value?.length === 0 && <p className="faint">No keys yet.</p>}
      {sorted.length > 0 && (
        <Table columns={['Owner', 'Name', 'Key', 'Scopes', 'Last used', 'Expires', '']}>
          {sorted.map((key) => (
            <Row key={key.id}>
              <td className="break">{ownerName(key.owner)}</td>
              <td className="break">
                {key.name}
                {key.id === own && <span className="faint"> (this one)</span>}
              </td>
              <td className="break">
                <code>{key.redacted_value}</code>
              </td>
              <td>{key.graft.scopes.join(', ')}</td>
              <td className="numbers">
                {key.last_used_at === null ? 'never' : ago(key.last_used_at)}
              </td>
              <td className="numbers">
                {key.graft.expires_at === null ? 'never' : moment(key.graft.expires_at)}
              </td>
              <td className="actions">
                <button aria-label={`Revoke ${key.name}`} onClick={() => revoke(key)}>
                  Revoke
                </button>
              </td>
            </Row>
          ))}
        </Table>
      )}
    </>
  );
}

interface KeyFormProps {
  readonly project: string;
  readonly members: readonly ProjectUserObject[];
  readonly made: (key: ProjectApiKeyObject) => void;
}

/** Form that creates a key for a member, or for the project itself if the caller is not a member. */
function KeyForm({ project, members, made }: KeyFormProps) {
  const caller = useContext(OwnKey)?.member?.id ?? null;
  const [name, setName] = useState('');
  const [member, setMember] = useState(caller ?? '');
  const [looks, setLooks] = useState(false);
  const [days, setDays] = useState('');
  const [error, setError] = useState<Error | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    const body = {
      name: name.trim(),
      ...(member && { member_id: member }),
      ...(looks && { scopes: ROLE_SCOPES.viewer }),
      ...(days && { expires_at: Math.floor(Date.now() / 1000) + Number(days) * DAY }),
    };
    api.createProjectKey(project, body).then((key) => {
      setName('');
      made(key);
    }, setError);
  };
  return (
    <>
      <form className="bar" onSubmit={submit}>
        <label className="field">
          Name
          <input
            required
            maxLength={100}
            aria-label="Name of the new key"
            placeholder="laptop"
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <Choice
          label="Owner"
          name="Owner of the new key"
          value={member}
          choose={setMember}
          choices={[
            ...(caller === null ? [['', 'the project itself (a program)'] as const] : []),
            ...members.map((one) => [one.id, `${one.name} (${one.role})`] as const),
          ]}
        />
        <Choice
          label="Access"
          name="Access of the new key"
          value={looks ? 'look' : 'all'}
          choose={(value) => setLooks(value === 'look')}
          choices={[
            ['all', member ? 'full (role)' : 'run jobs and chat'],
            ['look', 'read-only'],
          ]}
        />
        <Choice
          label="Expires"
          name="When the new key expires"
          value={days}
          choose={setDays}
          choices={LIFETIMES}
        />
        <Button type="submit" variant="primary" className="bottom">
          Create key
        </Button>
      </form>
      <Failure error={error} />
    </>
  );
}

interface ChoiceProps {
  readonly label: string;
  /** Accessible name of the choice. */
  readonly name: string;
  readonly value: string;
  readonly choose: (value: string) => void;
  readonly choices: readonly (readonly [value: string, words: string])[];
}

function Choice({ label, name, value, choose, choices }: ChoiceProps) {
  return (
    <label className="field">
      {label}
      <select aria-label={name} value={value} onChange={(e) => choose(e.target.value)}>
        {choices.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
