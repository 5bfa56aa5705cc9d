import type { GatewayObject, JoinTokenObject } from '@graft/contracts';
import { workerCommand } from '@graft/contracts/worker-command';
import { useId, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { Callout } from '../ui/feedback/callout.js';
import { CodeBlock } from '../ui/code-block.js';
import { Button } from '../ui/controls/button.js';
import { Field } from '../ui/controls/field.js';
import { Failure } from '../ui/feedback/failure.js';
import { Secret } from '../ui/secret.js';

const FILE = 'token.txt';

interface JoinTokenFormProps {
  readonly gateway: GatewayObject | null;
  /** Pool that the form suggests. */
  readonly pool?: string;
  readonly made: () => void;
}

/** Form that creates a join token and shows the commands to run on the worker's machine. */
export function JoinTokenForm({ gateway, pool: suggested = 'default', made }: JoinTokenFormProps) {
  const [name, setName] = useState('');
  const [pool, setPool] = useState(suggested);
  const [token, setToken] = useState<JoinTokenObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const id = useId();
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
      <form className="join-form" onSubmit={submit}>
        <Field id={`${id}name`} label="Machine" help="A name for its token">
          <input
            id={`${id}name`}
            required
            placeholder="gpu-box"
            aria-describedby={`${id}name-help`}
            value={name}
            onChange={(e) => setName(e.target.value)}
          />
        </Field>
        <Field id={`${id}pool`} label="Pool" help="Empty: any pool">
          <input
            id={`${id}pool`}
            placeholder="any"
            aria-describedby={`${id}pool-help`}
            value={pool}
            onChange={(e) => setPool(e.target.value)}
          />
        </Field>
        <Button type="submit" variant="primary">
          Create token
        </Button>
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
  const code = [
    `(umask 077; echo ${secret} > ${FILE})`,
    workerCommand(gateway, { tokenFile: FILE, pool: token.pool ?? 'default' }),
  ].join('\n');
  return (
    <>
      <p>On that machine, in a checkout of Graft: save the token to a file and start the worker.</p>
      <CodeBlock label="Commands for the worker's machine" tabs={[{ title: 'commands', code }]} />
    </>
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
        <Callout tone="warn">
          Reachable only from Graft’s own host. For workers on other machines, start Graft with{' '}
          <code>
            --grpc-host 0.0.0.0 --grpc-port 8081 --grpc-tls-cert chain.pem --grpc-tls-key key.pem
          </code>
          ; see “TLS” in docs/guides/deployment.md.
        </Callout>
      )}
    </>
  );
}
