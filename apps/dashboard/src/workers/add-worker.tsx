import { workerCommand } from '@graft/contracts/worker-command';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { CodeBlock } from '../ui/code-block.js';
import { Callout } from '../ui/feedback/callout.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { GatewayReach, JoinTokenForm } from './join-token.js';

interface Props {
  /** Pool that the form suggests. */
  readonly pool: string;
  readonly close: () => void;
}

/** Drawer that adds a worker: a join token, the commands to paste, and the wait for the worker. */
export function AddWorker({ pool, close }: Props) {
  const overview = useLoaded(['overview'], api.overview);
  const may = useMay();
  const gateway = overview.value?.gateway ?? null;
  return (
    <Drawer title="Add a worker" close={close}>
      <p>A worker trains jobs and answers chats, on this machine or another.</p>
      <Failure error={overview.error} />
      {gateway === null && !overview.error && <Skeleton height={120} />}
      {gateway && (
        <>
          <GatewayReach gateway={gateway} />
          {may('admin') ? (
            <NewWorker gateway={gateway} pool={pool} />
          ) : (
            <>
              <p>
                Ask an admin for a join token, save it to a file on the machine, then run there:
              </p>
              <CodeBlock
                label="Command for the worker's machine"
                tabs={[
                  {
                    title: 'Command',
                    code: workerCommand(gateway, { tokenFile: 'token.txt', pool }),
                  },
                ]}
              />
            </>
          )}
        </>
      )}
    </Drawer>
  );
}

type Gateway = Parameters<typeof GatewayReach>[0]['gateway'];

function NewWorker({ gateway, pool }: { gateway: Gateway; pool: string }) {
  const [known, setKnown] = useState<readonly string[] | null>(null);
  const workers = useLoaded(['workers'], async () => (await api.workers()).data, 3000);
  const joined =
    known === null
      ? undefined
      : workers.value?.find(({ id, state }) => state === 'online' && !known.includes(id));
  return (
    <>
      <JoinTokenForm
        gateway={gateway}
        pool={pool}
        made={() => setKnown((workers.value ?? []).map(({ id }) => id))}
      />
      {known !== null &&
        (joined ? (
          <Callout title={`${joined.name} is online`} isLive>
            It takes jobs of pool {joined.pool}.
          </Callout>
        ) : (
          <Callout title="Waiting for the worker to join…" isLive>
            It appears here within seconds of its start.
          </Callout>
        ))}
      <p className="faint">
        Tokens are listed, and revoked, under{' '}
        <Link to="/projects" search={{ tab: 'tokens' }}>
          Join tokens
        </Link>
        . A worker on Graft’s own host can use <code>GRAFT_HOME/join-token</code>.
      </p>
    </>
  );
}
