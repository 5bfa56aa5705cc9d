import type { ApiKeyObject, JoinTokenObject } from '@graft/contracts';
import { PROJECT_SCOPES } from '@graft/contracts/scopes';
import { useContext, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { OwnKey } from '../api/own-key.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/feedback/failure.js';
import { GatewayReach, JoinTokenForm } from '../workers/join-token.js';
import { Loading } from '../ui/feedback/loading.js';
import { Section } from '../ui/page.js';
import { Button } from '../ui/controls/button.js';
import { Secret } from '../ui/secret.js';
import { Row, Table } from '../ui/table.js';
import { ago, moment } from '../format.js';
import { ShortId } from '../projects/short-id.js';

/** Describes the consequences of revoking a key. */
function revocation(key: ApiKeyObject, own: ApiKeyObject | null): string {
  return [
    `Revoke ${key.name}? Every program that uses it loses access immediately. This cannot be undone.`,
    ...(key.id === own?.id ? ['You are signed in with this key and will be signed out.'] : []),
  ].join('\n\n');
}

/** Returns the only key that can create others. Null if there are several. */
function lastAdmin(keys: readonly ApiKeyObject[]): ApiKeyObject | null {
  const admins = keys.filter(({ scopes }) => scopes.includes('admin'));
  return admins.length === 1 ? (admins[0] ?? null) : null;
}

/** API keys of the installation, for admins. */
export function ApiKeys() {
  const own = useContext(OwnKey);
  const keys = useLoaded(['keys'], async () => (await api.keys()).data);
  const [made, setMade] = useState<ApiKeyObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const confirm = useConfirm();
  const revoke = (key: ApiKeyObject) => {
    setError(null);
    confirm(revocation(key, own), 'Revoke', () =>
      api.revokeKey(key.id).then(keys.reload, setError),
    );
  };
  const last = lastAdmin(keys.value ?? []);
  return (
    <Section
      title="API keys"
      text="Keys of the default project and of administrators. Keys of other projects are in their settings."
    >
      <KeyForm
        made={(key) => {
          setMade(key);
          keys.reload();
        }}
      />
      <Failure error={error ?? keys.error} />
      {made?.secret && <Secret of={made.name} secret={made.secret} />}
      {keys.value === null ? (
        <Loading error={keys.error} />
      ) : (
        <Table columns={['Owner', 'ID', 'Scopes', 'Created', 'Last used', '']}>
          {keys.value.map((key) => (
            <Row key={key.id}>
              <td className="break">
                {key.name}
                {key.id === own?.id && <span className="faint"> (this one)</span>}
              </td>
              <td className="numbers">
                <ShortId id={key.id} />
              </td>
              <td>{key.scopes.join(', ')}</td>
              <td className="numbers" title={moment(key.created_at)}>
                {ago(key.created_at)}
              </td>
              <td className="numbers">
                {key.last_used_at === null ? 'never' : ago(key.last_used_at)}
              </td>
              <td className="actions">
                {key === last && (
                  <span id="last-admin" className="faint">
                    the last admin key cannot be revoked
                  </span>
                )}
                <button
                  aria-label={`Revoke ${key.name}`}
                  aria-describedby={key === last ? 'last-admin' : undefined}
                  disabled={key === last}
                  onClick={() => revoke(key)}
                >
                  Revoke
                </button>
              </td>
            </Row>
          ))}
        </Table>
      )}
    </Section>
  );
}

function KeyForm({ made }: { made: (key: ApiKeyObject) => void }) {
  const [name, setName] = useState('');
  const [admin, setAdmin] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api.createKey(name.trim(), admin ? ['admin'] : PROJECT_SCOPES).then((key) => {
      setName('');
      made(key);
    }, setError);
  };
  return (
    <>
      <form className="bar" onSubmit={submit}>
        <label className="field">
          Owner
          <input
            required
            aria-label="Owner of the new key"
            placeholder="e.g. Ada’s laptop"
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <label className="bottom">
          <input type="checkbox" checked={admin} onChange={(e) => setAdmin(e.target.checked)} />{' '}
          admin
        </label>
        <Button type="submit" variant="primary" className="bottom">
          Create key
        </Button>
        <span className="faint bottom">
          Without admin: jobs, files and models. For custom scopes, use{' '}
          <code>graft keys create</code>.
        </span>
      </form>
      <Failure error={error} />
    </>
  );
}

/** Join tokens of workers, for admins. */
export function JoinTokens() {
  const tokens = useLoaded(['join-tokens'], async () => (await api.joinTokens()).data);
  const overview = useLoaded(['overview'], api.overview);
  const [error, setError] = useState<Error | null>(null);
  const confirm = useConfirm();
  const revoke = (token: JoinTokenObject) => {
    const message = `Revoke ${token.name}? Workers that joined with it are disconnected; their jobs resume on other workers from the last checkpoint.`;
    confirm(message, 'Revoke', () => api.revokeJoinToken(token.id).then(tokens.reload, setError));
  };
  return (
    <Section title="Join tokens" text="A machine joins as a worker with such a token.">
      {overview.value && <GatewayReach gateway={overview.value.gateway} />}
      <JoinTokenForm gateway={overview.value?.gateway ?? null} made={tokens.reload} />
      <Failure error={error ?? tokens.error} />
      {tokens.value === null ? (
        <Loading error={tokens.error} />
      ) : (
        <Table columns={['Machine', 'ID', 'Pool', 'Created', '']}>
          {tokens.value.map((token) => (
            <Row key={token.id}>
              <td className="break">{token.name}</td>
              <td className="numbers">
                <ShortId id={token.id} />
              </td>
              <td>{token.pool ?? 'any'}</td>
              <td className="numbers" title={moment(token.created_at)}>
                {ago(token.created_at)}
              </td>
              <td className="actions">
                <button aria-label={`Revoke ${token.name}`} onClick={() => revoke(token)}>
                  Revoke
                </button>
              </td>
            </Row>
          ))}
        </Table>
      )}
    </Section>
  );
}
