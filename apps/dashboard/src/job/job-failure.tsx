import type { JobObject, JobEventObject } from '@graft/contracts';
import { useState } from 'react';
import { useMay } from '../api/own-key.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { Callout } from '../ui/feedback/callout.js';
import { failureTitle, fixOf, type Fix } from './fixes.js';

interface Props {
  readonly job: JobObject;
  /** Newest first. */
  readonly log: readonly JobEventObject[];
  /** Starts a copy of the job with a change. */
  readonly retry: (fix: Fix) => Promise<unknown>;
}

/** Message of a failed job: its title, the reason, and the end of the log. */
export function JobFailure({ job, log }: Omit<Props, 'retry'>) {
  if (!job.error) return null;
  const { message, param } = job.error;
  const last = log
    .filter(({ level, message: text }) => level !== 'info' && !text.includes(message))
    .slice(0, 3)
    .reverse();
  return (
    <Callout tone="error" title={failureTitle(job)}>
      {message}
      {param && !message.includes(param) && (
        <>
          {' '}
          (<code>{param}</code>)
        </>
      )}
      {last.length > 0 && (
        <details>
          <summary>Last messages</summary>
          {last.map(({ id, message: text }) => (
            <div key={id} className="pre">
              {text}
            </div>
          ))}
        </details>
      )}
    </Callout>
  );
}

/** The primary action of a failed job: its fix, or a clone to edit. */
export function FixAction({ job, retry }: Omit<Props, 'log'>) {
  const [busy, setBusy] = useState(false);
  const may = useMay();
  if (!may('jobs:write') || job.graft.operation) return null;
  const fix = fixOf(job);
  if (!fix)
    return (
      <ButtonLink variant="primary" to="/new" search={{ from: job.id }}>
        Clone and edit
      </ButtonLink>
    );
  const start = () => {
    setBusy(true);
    void retry(fix).finally(() => setBusy(false));
  };
  return (
    <Button variant="primary" busy={busy} onClick={start}>
      {fix.label}
    </Button>
  );
}
