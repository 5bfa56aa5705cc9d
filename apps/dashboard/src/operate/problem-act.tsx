import type { ProblemObject } from '@graft/contracts';
import { useContext, useState } from 'react';
import { api } from '../api/api.js';
import { OwnKey, useMay } from '../api/own-key.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { AddWorker } from '../workers/add-worker.js';

/** The button that does something about a problem, or leads to where it is done. */
export function ProblemAct({ problem, changed }: { problem: ProblemObject; changed: () => void }) {
  const may = useMay();
  const [error, setError] = useState<Error | null>(null);
  const [isAdding, setAdding] = useState(false);
  const { code, subject } = problem;
  const uncordon =
    code === 'worker_cordoned'
      ? () => api.orderWorker(subject.id, 'uncordon')
      : code === 'pool_cordoned'
        ? () => api.cordonPool(subject.id, false)
        : null;
  if (uncordon && may('admin'))
    return (
      <>
        <Button
          aria-label={`Uncordon ${subject.name}`}
          onClick={() => {
            setError(null);
            uncordon().then(changed, setError);
          }}
        >
          Uncordon
        </Button>
        <Failure error={error} />
      </>
    );
  if (code === 'pool_without_workers' && may('admin'))
    return (
      <>
        <Button aria-label={`Add a worker to ${subject.name}`} onClick={() => setAdding(true)}>
          Add a worker
        </Button>
        {isAdding && <AddWorker pool={subject.id} close={() => setAdding(false)} />}
      </>
    );
  return <ShowSubject problem={problem} />;
}

const WORDS: Readonly<Record<ProblemObject['subject']['type'], string>> = {
  worker: 'Show cluster',
  pool: 'Show pool',
  job: 'Show job',
  model: 'Show models',
  limit: 'Show limits',
  webhook: 'Show webhooks',
  integration: 'Show trackers',
  service: '',
};

function ShowSubject({ problem }: { problem: ProblemObject }) {
  const own = useContext(OwnKey)?.project.id ?? null;
  const { type, id } = problem.subject;
  const text = WORDS[type];
  const isElsewhere = problem.project_id !== null && problem.project_id !== own;
  const settings = (tab: string) =>
    isElsewhere ? (
      <ButtonLink to="/projects/$id" params={{ id: problem.project_id ?? '' }} search={{ tab }}>
        {text}
      </ButtonLink>
    ) : (
      <ButtonLink to="/settings" search={{ tab }}>
        {text}
      </ButtonLink>
    );
  switch (type) {
    case 'worker':
      return <ButtonLink to="/cluster">{text}</ButtonLink>;
    case 'pool':
      return (
        <ButtonLink to="/pools/$name" params={{ name: id }}>
          {text}
        </ButtonLink>
      );
    case 'job':
      return (
        <ButtonLink to="/jobs/$id" params={{ id }}>
          {text}
        </ButtonLink>
      );
    case 'model':
      return <ButtonLink to="/models">{text}</ButtonLink>;
    case 'limit':
      return settings('limits');
    case 'webhook':
      return settings('webhooks');
    case 'integration':
      return settings('trackers');
    case 'service':
      return null;
  }
}
