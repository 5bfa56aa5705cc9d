import type { PoolWhatIfObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Modal } from '../ui/overlays/modal.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { effectText, jobTitle, summary } from './queue-text.js';

/** Number of affected jobs that are listed. */
const LISTED = 8;

export interface Intention {
  readonly pool: string;
  readonly action: PoolWhatIfObject['action'];
  /** ID of the job or worker. */
  readonly target: string;
  /** Question: "Drain box?" */
  readonly question: string;
  /** Sentences about what happens in any case. */
  readonly text: string;
  /** Label of the button that confirms. */
  readonly verb: string;
  readonly isDanger: boolean;
  readonly act: (found: PoolWhatIfObject) => Promise<unknown>;
}

/** Dialog that shows which jobs an action moves or delays, before it is confirmed. */
export function Consequences({ of, close }: { of: Intention; close: () => void }) {
  const found = useLoaded(
    ['what-if', of.pool, of.action, of.target],
    () => api.poolWhatIf(of.pool, of.action, of.target),
    5000,
  );
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const confirm = () => {
    if (!found.value) return;
    setBusy(true);
    setError(null);
    of.act(found.value).then(close, (failure: Error) => {
      setBusy(false);
      setError(failure);
    });
  };
  return (
    <Modal label={of.question} className="consequences" close={close}>
      <h2 className="break">{of.question}</h2>
      <p>{of.text}</p>
      {found.value ? (
        <Effects found={found.value} />
      ) : (
        !found.error && <Skeleton height={24} rows={3} />
      )}
      <Failure error={error ?? found.error} />
      <div className="bar">
        <span className="grow" />
        <Button onClick={close}>Cancel</Button>
        <Button
          variant={of.isDanger ? 'danger' : 'primary'}
          disabled={!found.value}
          busy={busy}
          onClick={confirm}
        >
          {of.verb}
        </Button>
      </div>
    </Modal>
  );
}

function Effects({ found }: { found: PoolWhatIfObject }) {
  const now = Date.now() / 1000;
  const shown = found.changes.slice(0, LISTED);
  const rest = found.changes.length - shown.length;
  return (
    <>
      <p>
        <b>{summary(found)}</b>
      </p>
      {found.action === 'front' && found.position !== null && found.position > 1 && (
        <p>
          It will be number {found.position} in the queue: jobs with a higher priority or of other
          projects stay ahead.
        </p>
      )}
      {shown.length > 0 && (
        <ul className="effects" aria-label="Affected jobs">
          {shown.map((change, n) => (
            <li key={change.id ?? `other ${n}`}>
              <span className="effect-job">{jobTitle(change)}</span>
              <span>{effectText(change, { slots_left: found.slots_left, at: now })}</span>
            </li>
          ))}
          {rest > 0 && <li className="faint">and {rest} more</li>}
        </ul>
      )}
    </>
  );
}
