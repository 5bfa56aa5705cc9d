import type { GatewayObject, JoinTokenObject } from '@graft/contracts';
import { workerCommand } from '@graft/contracts/worker-command';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Failure } from '../ui/failure.js';
import { Secret } from '../ui/secret.js';

const FILE = 'token.txt';

/** Form that creates a join token and shows the commands to run on the worker's machine. */
export function JoinTokenForm({
  gateway,
  made,
}: {
  gateway: GatewayObject | null;
  made: () => void;
}) {
  const [name, setName] = useState('');
  const [pool, setPool] = useState('default');
  const [token, setToken] = useState<JoinTokenObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api.createJoinToken(name.trim(), pool.trim() || null).then((created) => {
      setToken(created);
      setName('');
      made();
    }, setError);
  };
  return (
    <>
      <form className="bar" onSubmit={submit}>
        <label className="field">
          Machine
          <input
            required
            aria-label="Name of the new join token"
            placeholder="gpu-box"
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </label>
        <label className="field">
          Pool
          <input
            aria-label="Pool of the new join token"
            placeholder="any"
            value={pool}
            onChange={(e) => setPool(e.target.value)}
          />
        </label>
        <button className="main bottom">Create token</button>
      </form>
      <Failure error={error} />
      {token?.secret && (
        <>
          <Secret of={token.name} secret={token.secret} />
          {gateway && <JoinCommands gateway={gateway} token={token} secret={token.secret} />}
        </>
      )}
    </>
  );
}

function JoinCommands({
  gateway,
  token,
  secret,
}: {
  gateway: GatewayObject;
  token: JoinTokenObject;
  secret: string;
}) {
  const commands = [
    `(umask 077; echo ${secret} > ${FILE})`,
    workerCommand(gateway, { tokenFile: FILE, pool: token.pool ?? 'default' }),
  ].join('\n');
  return (
    <figure className="commands">
      <figcaption className="bar">
        On that machine, in a checkout of Graft: save the token to a file and start the worker.
        <CopyButton text={commands} label="Copy commands" />
      </figcaption>
      <pre tabIndex={0} role="region" aria-label="Commands for the worker's machine">
        {commands}
      </pre>
    </figure>
  );
}

/** Address that workers connect to, and a hint if it accepts only local connections. */
export function GatewayReach({ gateway }: { gateway: GatewayObject }) {
  return (
    <>
      <p>
        Workers join at <code>{gateway.url}</code>
        {gateway.tls ? ', with TLS.' : ', without TLS.'}
      </p>
      {!gateway.listens_beyond_host && (
        <p className="notice">
          Reachable only from Graft’s own host. For workers on other machines, start Graft with{' '}
          <code>
            --grpc-host 0.0.0.0 --grpc-port 8081 --grpc-tls-cert chain.pem --grpc-tls-key key.pem
          </code>
          ; see “TLS” in docs/guides/deployment.md.
        </p>
      )}
    </>
  );
}
