import { duration } from '@graft/contracts/duration';
import { useLocation } from '@tanstack/react-router';
import { parseSearch } from '../address.js';
import { bytes } from '../format.js';
import { useMay } from '../api/own-key.js';
import { continueUpload, dropUpload, placeNow, useUploads, type Upload } from './uploads.js';
import type { files, newJob } from '../routes.js';
import { Ends } from '../ui/ends.js';
import { Link } from '../ui/link.js';

type NewJobSearch = (typeof newJob)['types']['fullSearchSchema'];
type FilesSearch = (typeof files)['types']['fullSearchSchema'];

/** Shows the uploads of all pages, below the current page. */
export function UploadTray() {
  const uploads = useUploads();
  // The available actions depend on the page.
  useLocation();
  return (
    <>
      {/* Without percentages, which screen readers would announce continuously. */}
      <div className="unseen uploads-status" role="status">
        {uploads.map((upload) => `${upload.name}: ${stateText(upload)}`).join('. ')}
      </div>
      {uploads.length > 0 && (
        <section className="uploads" aria-label="Uploads">
          <ul>
            {uploads.map((upload) => (
              <Row key={upload.id} upload={upload} />
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

const STATE_TEXTS = {
  waiting: 'waiting for the previous upload',
  sending: 'uploading',
  interrupted: 'interrupted; it continues when Graft responds again',
  checking: 'checking',
  asks: 'choose its columns',
  done: 'uploaded',
} as const;

function stateText({ state, error, file }: Upload): string {
  if (state === 'failed') return `not uploaded: ${error?.message ?? 'no reason given'}`;
  return file?.status === 'error'
    ? 'uploaded, but cannot be used for training'
    : STATE_TEXTS[state];
}

function Row({ upload }: { upload: Upload }) {
  const { name, state, file } = upload;
  const isBad = state === 'failed' || file?.status === 'error';
  const isMoving = state === 'sending' || state === 'interrupted' || state === 'checking';
  return (
    <li>
      <span className="upload-state">
        <b className="upload-name" title={name}>
          <Ends name={name} />
        </b>
        {isMoving && <Meter upload={upload} />}
        {state === 'sending' ? (
          <span className="numbers faint">{progressText(upload)}</span>
        ) : (
          <span className={isBad ? 'bad break' : 'faint'}>
            <span aria-hidden="true">{isBad ? '✕ ' : state === 'done' ? '✓ ' : ''}</span>
            {stateText(upload)}
          </span>
        )}
      </span>
      <span className="actions">
        <Actions upload={upload} />
      </span>
    </li>
  );
}

/** Progress bar. It is indeterminate while the file is checked. */
const Meter = ({ upload: { name, state, sent, size } }: { upload: Upload }) => (
  <progress
    aria-label={`Upload of ${name}`}
    {...(state === 'checking' ? {} : { value: sent, max: Math.max(1, size) })}
  />
);

/** Returns "12.3 of 45.6 MB, 27 %, 1.2 MB/s, 28 s left". */
export function progressText({ sent, size, rate, secondsLeft }: Upload): string {
  return [
    `${bytes(sent)} of ${bytes(size)}`,
    `${Math.floor((100 * sent) / Math.max(1, size))} %`,
    ...(rate === null ? [] : [`${bytes(Math.round(rate))}/s`]),
    ...(secondsLeft === null ? [] : [`${duration(secondsLeft)} left`]),
  ].join(', ');
}

function Actions({ upload }: { upload: Upload }) {
  const { id, name, state } = upload;
  const isOver = state === 'done' || state === 'failed';
  return (
    <>
      {state === 'failed' && (
        <button
          className="small"
          aria-label={`Try again to upload ${name}`}
          onClick={() => continueUpload(id)}
        >
          Try again
        </button>
      )}
      {state === 'asks' && upload.place !== placeNow() && (
        <OriginLink place={upload.place}>Choose columns</OriginLink>
      )}
      {state === 'done' && <UploadedFile upload={upload} />}
      <button
        className="small"
        aria-label={isOver ? `Close ${name}` : `Cancel the upload of ${name}`}
        onClick={() => dropUpload(id)}
      >
        {isOver ? <span aria-hidden="true">×</span> : 'Cancel'}
      </button>
    </>
  );
}

/** Links to the uploaded file and to its uses. */
function UploadedFile({ upload: { file, place } }: { upload: Upload }) {
  const may = useMay();
  if (!file) return null;
  const isForm = /^\/(new|find)\b/.test(place);
  return (
    <>
      <Link to="/files/$id" params={{ id: file.id }}>
        Show the file
      </Link>
      {file.status !== 'error' &&
        may('jobs:write', 'models:read') &&
        (!isForm ? (
          <Link to="/new" search={{ training_file: file.id }}>
            Use in a new job
          </Link>
        ) : (
          place !== placeNow() && (
            <OriginLink place={place}>
              {place.startsWith('/new') ? 'Back to the new job' : 'Back to the form'}
            </OriginLink>
          )
        ))}
    </>
  );
}

/** Links back to the page where the upload started, whose form keeps its contents. */
function OriginLink({ place, children }: { place: string; children: string }) {
  const [path, query = ''] = place.split('?');
  const search = parseSearch(query);
  if (path === '/find') return <Link to="/find">{children}</Link>;
  return path === '/new' ? (
    <Link to="/new" search={search as NewJobSearch}>
      {children}
    </Link>
  ) : (
    <Link to="/files" search={search as FilesSearch}>
      {children}
    </Link>
  );
}
