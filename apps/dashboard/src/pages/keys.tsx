import type { ApiKeyObject, JoinTokenObject } from '@graft/contracts';
import { PROJECT_SCOPES } from '@graft/contracts/graft-api';
import { useState, type FormEvent } from 'react';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { CopyButton } from '../parts/copy-button.js';
import { Failure } from '../parts/failure.js';
import { Loading } from '../parts/loading.js';
import { Row, Table } from '../parts/table.js';
import { ago, moment } from '../wording.js';

/** Who may use this Graft, and which workers may join it; for admins. */
export function KeysPage() {
  return (
    <main>
      <h1>Keys</h1>
      <ApiKeys />
      <JoinTokens />
    </main>
  );
}

/** A secret is shown when it is made and never again. */
function Secret({ of, secret }: { of: string; secret: string }) {
  return (
    <p className="notice" role="status">
      {of}: <code className="break">{secret}</code>{' '}
      <CopyButton text={secret} label="Copy the secret" />
      <br />
      Keep it: it is not shown again.
    </p>
  );
}

function ApiKeys() {
  const keys = useLoaded(async () => (await api.keys()).data);
  const [name, setName] = useState('');
  const [admin, setAdmin] = useState(false);
  const [made, setMade] = useState<ApiKeyObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const make = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    const scopes = admin ? ['admin'] : PROJECT_SCOPES;
    api.createKey(name.trim(), scopes).then((key) => {
      setMade(key);
      setName('');
      keys.reload();
    }, setError);
  };
  const revoke = (key: ApiKeyObject) =>
    confirm(`Revoke ${key.name}? It stops working at once.`) &&
    api.revokeKey(key.id).then(keys.reload, setError);
  return (
    <section>
      <h2>API keys</h2>
      <form className="bar" onSubmit={make}>
        <input
          required
          aria-label="Name of the new key"
          placeholder="whose it is"
          value={name}
          onChange={(e) => setName(e.target.value)}
        />
        <label>
          <input type="checkbox" checked={admin} onChange={(e) => setAdmin(e.target.checked)} />{' '}
          admin
        </label>
        <button className="main">Make a key</button>
        <span className="faint">
          Without admin: jobs, files and models. <code>graft keys create</code> takes single scopes.
        </span>
      </form>
      <Failure error={error ?? keys.error} />
      {made?.secret && <Secret of={made.name} secret={made.secret} />}
      {keys.value === null ? (
        <Loading error={keys.error} />
      ) : (
        <Table columns={['Name', 'Id', 'May', 'Made', 'Last used', '']}>
          {keys.value.map((key) => (
            <Row key={key.id}>
              <td className="break">{key.name}</td>
              <td>
                <code>{key.id}</code>
              </td>
              <td>{key.scopes.join(', ')}</td>
              <td title={moment(key.created_at)}>{ago(key.created_at)}</td>
              <td>{key.last_used_at === null ? 'never' : ago(key.last_used_at)}</td>
              <td className="actions">
                <button onClick={() => revoke(key)}>Revoke</button>
              </td>
            </Row>
          ))}
        </Table>
      )}
    </section>
  );
}

function JoinTokens() {
  const tokens = useLoaded(async () => (await api.joinTokens()).data);
  const [name, setName] = useState('');
  const [made, setMade] = useState<JoinTokenObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const make = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api.createJoinToken(name.trim()).then((token) => {
      setMade(token);
      setName('');
      tokens.reload();
    }, setError);
  };
  const revoke = (token: JoinTokenObject) =>
    confirm(`Revoke ${token.name}? Workers that joined with it are put out.`) &&
    api.revokeJoinToken(token.id).then(tokens.reload, setError);
  return (
    <section>
      <h2>Join tokens for workers</h2>
      <form className="bar" onSubmit={make}>
        <input
          required
          aria-label="Name of the new join token"
          placeholder="which machine"
          value={name}
          onChange={(e) => setName(e.target.value)}
        />
        <button className="main">Make a token</button>
        <span className="faint">
          There: <code>graft-worker --url grpc://THIS_HOST:PORT --token-file FILE</code>
        </span>
      </form>
      <Failure error={error ?? tokens.error} />
      {made?.secret && <Secret of={made.name} secret={made.secret} />}
      {tokens.value !== null && (
        <Table columns={['Name', 'Id', 'Pool', 'Made', '']}>
          {tokens.value.map((token) => (
            <Row key={token.id}>
              <td className="break">{token.name}</td>
              <td>
                <code>{token.id}</code>
              </td>
              <td>{token.pool ?? 'any'}</td>
              <td title={moment(token.created_at)}>{ago(token.created_at)}</td>
              <td className="actions">
                <button onClick={() => revoke(token)}>Revoke</button>
              </td>
            </Row>
          ))}
        </Table>
      )}
    </section>
  );
}
