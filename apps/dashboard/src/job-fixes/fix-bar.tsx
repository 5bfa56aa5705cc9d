import type { FileRevisionObject, JobObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { useNavigate } from '@tanstack/react-router';
import { RotateCcw } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { fieldsOf } from '../forms/schema-fields.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { retrainBody } from './retrain.js';
import { useRowFixes, type Fixes } from './row-fixes.js';

interface Props {
  readonly job: JobObject;
  /** Model to continue from, and its step. Null while there is none. */
  readonly from: { readonly model: string; readonly step: number } | null;
}

/** Returns "3 rows fixed, 1 removed". */
function fixesText(fixes: Fixes): string {
  const removed = [...fixes.values()].filter((one) => one === null).length;
  const changed = fixes.size - removed;
  return [
    ...(changed > 0 ? [`${changed} row${changed === 1 ? '' : 's'} fixed`] : []),
    ...(removed > 0 ? [`${removed} removed`] : []),
  ].join(', ');
}

/** Bar with the corrections of this page: saves them as a new version of the file, then trains on it. */
export function FixBar({ job, from }: Props) {
  const { file, fixes, clear } = useRowFixes();
  const [revision, setRevision] = useState<FileRevisionObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  if (file === null || (fixes.size === 0 && !revision)) return null;
  const save = () => {
    setBusy(true);
    setError(null);
    const records = [...fixes].map(([line, record]) => ({ line, record }));
    const hasSplit = Boolean(job.graft.validation_split);
    api
      .reviseFile(file, { records, ...(hasSplit && { hold_out_as: job.id }) })
      .then((made) => {
        setRevision(made);
        clear();
      }, setError)
      .finally(() => setBusy(false));
  };
  return (
    <div className="fix-bar" role="region" aria-label="Fixes">
      {fixes.size > 0 ? (
        <>
          <b role="status">{fixesText(fixes)}</b>
          <span className="grow" />
          <Button variant="ghost" onClick={clear}>
            Discard
          </Button>
          <Button busy={busy} onClick={save}>
            Save {fixes.size} {fixes.size === 1 ? 'fix' : 'fixes'} as a new version of the file
          </Button>
        </>
      ) : (
        revision && <Retrain job={job} from={from} revision={revision} onError={setError} />
      )}
      <Failure error={error} />
    </div>
  );
}

interface RetrainProps extends Props {
  readonly revision: FileRevisionObject;
  readonly onError: (error: Error | null) => void;
}

/** Offers to continue the run on the new version, with the time it takes. */
function Retrain({ job, from, revision, onError }: RetrainProps) {
  const navigate = useNavigate();
  const may = useMay();
  const [busy, setBusy] = useState(false);
  const rows = revision.changed + revision.removed;
  const plan = useLoaded(['retrain', revision.id, from?.model], async () => {
    if (!from) return null;
    const options = fieldsOf((await api.catalog()).graft_schema).map(({ name }) => name);
    const body = retrainBody(job, revision, from.model, options);
    return { body, seconds: (await api.previewJob(body)).seconds };
  });
  const start = () => {
    if (!plan.value) return;
    setBusy(true);
    onError(null);
    api
      .createJob(plan.value.body)
      .then(({ id }) => navigate({ to: '/jobs/$id', params: { id } }), onError)
      .finally(() => setBusy(false));
  };
  const seconds = plan.value?.seconds ?? null;
  return (
    <>
      <span role="status">
        Saved as{' '}
        <Link to="/files/$id" params={{ id: revision.id }}>
          {revision.file.filename}
        </Link>
        .
        {revision.held_out_revised > 0 &&
          ` ${revision.held_out_revised} of the rows are held out for validation.`}
      </span>
      <span className="grow" />
      {from && may('jobs:write') && (
        <Button variant="primary" icon={<RotateCcw />} busy={busy || !plan.value} onClick={start}>
          Retrain from step {from.step} with {rows} row{rows === 1 ? '' : 's'} fixed
          {seconds !== null && ` · about ${duration(seconds)}`}
        </Button>
      )}
      <Failure error={plan.error} />
    </>
  );
}
