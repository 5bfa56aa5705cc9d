import type {
  FileObject,
  FileRecordObject,
  FileReport,
  JobObject,
  Page,
  RecordFormatDescription,
} from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useContext, useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { download } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { RecordFormats } from '../files/record-formats.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Failure } from '../ui/failure.js';
import { Figure } from '../ui/figure.js';
import { examplesIn, kindsIn, problemsOf, Sentences, sourceOf } from '../files/file-report.js';
import { LabelShares } from '../files/label-shares.js';
import { Lines } from '../files/lines.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { galleryOf, MediaGallery } from '../media/media-gallery.js';
import { TrainingRecord } from '../files/record.js';
import { StatePill } from '../ui/state-pill.js';
import { ago, bytes, count, moment } from '../format.js';
import { jobName } from '../job/job-text.js';

const PAGE = 20;

/** Jobs that use a file, or the newest of them. */
type Users = Pick<Page<JobObject>, 'data' | 'has_more'>;
const NO_JOBS: Users = { data: [], has_more: false };

/** One file: its properties, the result of its check, its examples, and the jobs that use it. */
export function FilePage({ id, after }: { id: string; after: number }) {
  const file = useLoaded(['file', id], () => api.file(id));
  const mayJobs = useMay()('jobs:read');
  const jobs = useLoaded(['jobs-with', id, mayJobs], async () =>
    mayJobs ? await api.jobs(new URLSearchParams({ search: id, archived: 'any' })) : NO_JOBS,
  );
  const [error, setError] = useState<Error | null>(null);
  const { value } = file;
  useEffect(() => {
    if (value) document.title = `${value.filename} · Graft`;
  }, [value]);
  if (!value)
    return (
      <main>
        <Failure error={file.error} />
        <Loading error={file.error} />
      </main>
    );
  return (
    <main>
      <Head file={value} users={jobs.value ?? NO_JOBS} onError={setError} />
      <Failure error={error ?? file.error} />
      {problemsOf(value).length > 0 && (
        <section className="notice bad" aria-label="Problems">
          <b>This file cannot be used for training</b>
          <Sentences of={problemsOf(value)} />
        </section>
      )}
      {value.graft && <Report id={id} report={value.graft} />}
      {value.graft?.labels && <LabelShares labels={value.graft.labels} />}
      {jobs.value && jobs.value.data.length > 0 && <UsedBy {...jobs.value} />}
      {value.purpose === 'fine-tune' && (
        <Examples key={after} id={id} after={after} total={value.graft?.records ?? null} />
      )}
    </main>
  );
}

interface HeadProps {
  readonly file: FileObject;
  readonly users: Users;
  readonly onError: (error: Error) => void;
}

function Head({ file, users, onError }: HeadProps) {
  const usable = file.status !== 'error';
  const may = useMay();
  const confirm = useConfirm();
  const formats = useContext(RecordFormats);
  const navigate = useNavigate();
  const remove = () => {
    confirm(lossOf(file, formats, users), 'Delete', () =>
      api.deleteFile(file.id).then(() => navigate({ to: '/files' }), onError),
    );
  };
  return (
    <>
      <p className="crumb">
        <Link to="/files">Files</Link>
      </p>
      <div className="bar head">
        <h1 className="name">{file.filename}</h1>
        <span className={`pill ${usable ? 'good' : 'bad'}`}>
          <span aria-hidden="true">{usable ? '✓' : '✕'}</span> {usable ? 'ready' : 'unusable'}
        </span>
        <span className="grow" />
        {usable && file.purpose === 'fine-tune' && may('jobs:write', 'models:read') && (
          <Link className="button main" to="/new" search={{ training_file: file.id }}>
            Train on it
          </Link>
        )}
        <button onClick={() => download(file.id, file.filename).catch(onError)}>Download</button>
        {may('files:write') && <button onClick={remove}>Delete</button>}
      </div>
      <p className="facts faint">
        <span className="break">
          <code>{file.id}</code> <CopyButton text={file.id} label="Copy ID" />
        </span>
        <span>{bytes(file.bytes)}</span>
        <span title={moment(file.created_at)}>added {ago(file.created_at)}</span>
        {file.expires_at && <span>expires {moment(file.expires_at)}</span>}
      </p>
    </>
  );
}

/** Describes what deleting the file removes. */
export function lossOf(
  file: FileObject,
  formats: readonly RecordFormatDescription[],
  { data, has_more: more }: Users = NO_JOBS,
): string {
  const { graft: report } = file;
  const what = report && report.records > 0 ? ` with its ${examplesIn(report, formats)}` : '';
  const jobs = `${data.length}${more ? ' or more' : ''} job${data.length === 1 ? '' : 's'}`;
  const remaining =
    data.length > 0 ? ` Models and metrics of the ${jobs} that used it are kept.` : '';
  return `Delete ${file.filename}${what}? This cannot be undone.${remaining}`;
}

function Report({ id, report }: { id: string; report: FileReport }) {
  const { duplicates, duplicate_lines: repeated, longest_line: longest } = report;
  const kinds = kindsIn(report, useContext(RecordFormats));
  const source = sourceOf(report);
  const fitting = report.tasks?.filter(({ fits }) => fits).map(({ task }) => task);
  return (
    <section aria-label="Report">
      <dl className="strip">
        {kinds.length !== 1 && <Figure name="examples" value={count(report.records)} />}
        {kinds.map(([n, name]) => (
          <Figure key={name} name={name} value={count(n)} />
        ))}
        <Figure name={duplicates === 1 ? 'duplicate' : 'duplicates'} value={count(duplicates)} />
        {longest && (
          <Figure name={`longest, line ${count(longest.line)}`} value={bytes(longest.bytes)} />
        )}
        {source && <Figure name="read from" value={source} />}
        {fitting && (
          <Figure
            name={fitting.length > 1 ? 'tasks it fits' : 'task it fits'}
            value={fitting.join(', ') || 'none'}
          />
        )}
      </dl>
      {report.warnings.length > 0 && (
        <div className="notice warn">
          <Sentences of={report.warnings} />
          <Lines file={id} lines={repeated} all={duplicates} what="a duplicate" />
        </div>
      )}
    </section>
  );
}

function UsedBy({ data: jobs, has_more: more }: Users) {
  return (
    <section aria-label="Jobs">
      <h2>Jobs that use it</h2>
      <ul className="users">
        {jobs.slice(0, 8).map((job) => (
          <li key={job.id}>
            <Link to="/jobs/$id" params={{ id: job.id }}>
              {jobName(job)}
            </Link>{' '}
            <StatePill status={job.status} />
          </li>
        ))}
        {jobs.length > 8 && (
          <li className="faint">
            and {jobs.length - 8}
            {more && ' or more'} others
          </li>
        )}
      </ul>
    </section>
  );
}

interface ExamplesProps {
  readonly id: string;
  readonly after: number;
  readonly total: number | null;
}

function Examples({ id, after, total }: ExamplesProps) {
  const page = useLoaded(['records', id, after], () => api.records(id, after, PAGE));
  const items: readonly FileRecordObject[] = page.value?.data ?? [];
  const gallery = galleryOf(items);
  const last = items.at(-1)?.line ?? after;
  const navigate = useNavigate();
  const to = (line: number) =>
    void navigate({
      to: '/files/$id',
      params: { id },
      search: line > 0 ? { after: String(line) } : {},
    });
  return (
    <section aria-label="Examples">
      <div className="bar">
        <h2 className="grow">Examples</h2>
        <span className="legend">
          <i aria-hidden="true" /> trained on
        </span>
      </div>
      <Failure error={page.error} />
      {page.value === null ? (
        <Loading error={page.error} />
      ) : gallery ? (
        <MediaGallery items={gallery} />
      ) : (
        <ol className="examples">
          {items.map((item) => (
            <TrainingRecord key={item.line} item={item} />
          ))}
        </ol>
      )}
      {(after > 0 || page.value?.has_more) && (
        <nav className="bar pages" aria-label="Pages of examples">
          <button disabled={after === 0} onClick={() => to(Math.max(0, after - PAGE))}>
            ← Previous
          </button>
          <span className="faint numbers">
            {items.length > 0 && `lines ${count(items[0]?.line ?? 0)}–${count(last)}`}
            {total !== null && ` of ${count(total)} examples`}
          </span>
          <button disabled={!page.value?.has_more} onClick={() => to(last)}>
            Next →
          </button>
        </nav>
      )}
    </section>
  );
}
