import type { JobObject, ModelUse } from '@graft/contracts';
import { Copy, Pause, Play } from 'lucide-react';
import { useMay } from '../api/own-key.js';
import type { Fix } from '../job/fixes.js';
import { FixAction } from '../job/job-failure.js';
import { canPause, isOver } from '../job/job-text.js';
import { useModel } from '../models/model-facts.js';
import { UseItButton } from '../models/use-it.js';
import { Button, ButtonLink } from '../ui/controls/button.js';

interface Props {
  readonly job: JobObject;
  readonly use: ModelUse;
  readonly cancel: () => void;
  /** Pauses or resumes. */
  readonly hold: () => void;
  readonly retry: (fix: Fix) => Promise<unknown>;
}

const TRY = {
  chat: 'Chat with it',
  embed: 'Embed texts',
  classify: 'Classify with it',
  transcribe: 'Transcribe with it',
} as const;

/** Buttons of a job's header. The primary one depends on the state of the job. */
export function JobButtons({ job, use, cancel, hold, retry }: Props) {
  const may = useMay();
  const model = useModel(job.fine_tuned_model).value;
  const mayWrite = may('jobs:write');
  const canTry = model !== null && model.graft?.kind !== 'export' && may('models:read');
  return (
    <>
      {mayWrite && !isOver(job) && (
        <Button variant="ghost" onClick={cancel}>
          Cancel
        </Button>
      )}
      {!job.graft.operation && may('jobs:write', 'models:read', 'files:read') && (
        <ButtonLink icon={<Copy />} to="/new" search={{ from: job.id }}>
          Clone
        </ButtonLink>
      )}
      {mayWrite && job.status === 'running' && canPause(job) && (
        <Button icon={<Pause />} onClick={hold}>
          Pause
        </Button>
      )}
      {mayWrite && job.status === 'paused' && (
        <Button variant="primary" icon={<Play />} onClick={hold}>
          Resume
        </Button>
      )}
      {model && model.graft?.kind !== 'export' && (
        <UseItButton model={model} files={may('files:read') ? job.result_files : []} />
      )}
      {canTry && (
        <ButtonLink variant="primary" to="/chat" search={{ model: model.id }}>
          {TRY[use]}
        </ButtonLink>
      )}
      {job.status === 'failed' && <FixAction job={job} retry={retry} />}
    </>
  );
}
