import type { JobObject, ModelUse } from '@graft/contracts';
import { api } from '../api/api.js';
import { archive, download } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { bytes } from '../format.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { useModel } from '../models/model-facts.js';
import { UseIt } from '../models/use-it.js';

interface Props {
  readonly job: JobObject;
  readonly use: ModelUse;
  /** Whether the run succeeded. */
  readonly isGood: boolean;
  readonly onError: (error: Error) => void;
}

const TRY = {
  chat: 'Chat with it',
  embed: 'Embed texts',
  classify: 'Classify with it',
  transcribe: 'Transcribe with it',
} as const;

/** Results of a job: links to try the model, and its files to download. */
export function Results({ job, use, isGood, onError }: Props) {
  const may = useMay();
  const readable = may('files:read') ? job.result_files : [];
  const files = useLoaded(['files-of', ...readable], () =>
    Promise.all(readable.map((file) => api.file(file))),
  );
  const model = job.fine_tuned_model;
  const shown = useModel(model);
  const canTry = shown.value !== null && shown.value.graft?.kind !== 'export';
  return (
    <section className={isGood ? 'card good' : 'card'} aria-label="Result">
      <div className="bar">
        <b className="break">{model}</b>
        <span className="grow" />
        {model && (
          <span className="actions">
            {may('files:read') && (
              <button className="main" onClick={() => archive(model).catch(onError)}>
                <span aria-hidden="true">↓</span> Download .zip
              </button>
            )}
            {canTry && (
              <Link className="button" to="/chat" search={{ model }}>
                {TRY[use]}
              </Link>
            )}
          </span>
        )}
      </div>
      <Failure error={files.error} />
      {shown.value && <UseIt model={shown.value} onError={onError} />}
      <div className="bar files">
        {(files.value ?? []).map((file) => (
          <button key={file.id} onClick={() => download(file.id, file.filename).catch(onError)}>
            <span aria-hidden="true">↓</span> {file.filename}{' '}
            <span className="faint">{bytes(file.bytes)}</span>
          </button>
        ))}
      </div>
    </section>
  );
}
