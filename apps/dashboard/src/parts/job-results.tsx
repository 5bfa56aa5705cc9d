import type { JobObject } from '@graft/contracts';
import { api, archive, download } from '../api.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { useMay } from '../own-key.js';
import { bytes } from '../wording.js';
import { Failure } from './failure.js';

/** What a job has made: to talk to, and to take home in one piece or file by file. */
export function Results({ job, onError }: { job: JobObject; onError: (error: Error) => void }) {
  const may = useMay();
  const readable = may('files:read') ? job.result_files : [];
  const files = useLoaded(() => Promise.all(readable.map((file) => api.file(file))));
  const model = job.fine_tuned_model;
  return (
    <section className="card good" aria-label="Result">
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
            {may('models:read') && (
              <a className="button" {...linkTo(`/chat?model=${encodeURIComponent(model)}`)}>
                Chat with it
              </a>
            )}
          </span>
        )}
      </div>
      <Failure error={files.error} />
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
