import type { WorkerObject } from '@graft/contracts';
import { CirclePause, CirclePlay, PowerOff, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { Failure } from '../ui/feedback/failure.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { ActionMenu, type Action } from '../ui/overlays/menu.js';
import { Consequences, type Intention } from './consequences.js';

interface Props {
  readonly worker: WorkerObject;
  readonly changed: () => void;
}

/** Actions of an admin on a worker. Draining and cordoning show their consequences first. */
export function WorkerActions({ worker, changed }: Props) {
  const { id, name, pool, state, cordoned } = worker;
  const [intention, setIntention] = useState<Intention | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const confirm = useConfirm();
  const act = (work: Promise<unknown>) => {
    setError(null);
    work.then(changed, setError);
  };
  const ask = (action: 'drain' | 'cordon') =>
    setIntention({ ...QUESTIONS[action](name), pool, action, target: id, act: order(action) });
  const order = (action: 'drain' | 'cordon') => () => api.orderWorker(id, action).then(changed);
  const remove = () =>
    confirm(`Remove ${name} from the list? It reappears when it is started again.`, 'Remove', () =>
      act(api.removeWorker(id)),
    );
  const cordon: Action = cordoned
    ? {
        label: 'Uncordon',
        icon: <CirclePlay />,
        act: () => act(api.orderWorker(id, 'uncordon')),
      }
    : { label: 'Cordon…', icon: <CirclePause />, act: () => ask('cordon') };
  const isDraining = state === 'draining';
  return (
    <>
      <Failure error={error} />
      <ActionMenu
        label={`Actions for ${name}`}
        actions={
          state === 'offline'
            ? [{ label: 'Remove…', icon: <Trash2 />, isDanger: true, act: remove }]
            : [
                cordon,
                {
                  label: 'Drain…',
                  icon: <PowerOff />,
                  isDanger: true,
                  unavailable: isDraining ? 'It is draining' : null,
                  act: () => ask('drain'),
                },
              ]
        }
      />
      {intention && <Consequences of={intention} close={() => setIntention(null)} />}
    </>
  );
}

const QUESTIONS = {
  drain: (name: string) => ({
    question: `Drain ${name}?`,
    text: 'Its jobs save a checkpoint and return to the queue. Then its process exits and must be started again.',
    verb: 'Drain',
    isDanger: true,
  }),
  cordon: (name: string) => ({
    question: `Cordon ${name}?`,
    text: 'It starts no new jobs or chats until it is uncordoned. Running jobs continue.',
    verb: 'Cordon',
    isDanger: false,
  }),
};
