import type {
  FileObject,
  FileRecordObject,
  FileReport,
  JobObject,
  Page as ListPage,
  RecordFormatDescription,
} from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { CircleCheck, CircleX, Copy, Download, Trash2 } from 'lucide-react';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { download } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay, useMayRequest } from '../api/own-key.js';
import { useRecordFormats } from '../files/record-formats.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { copyText } from '../ui/controls/copy-button.js';
import { Failure } from '../ui/feedback/failure.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';
import { Callout } from '../ui/feedback/callout.js';
import { Page, Section } from '../ui/page.js';
import { Stat, Stats } from '../ui/stat.js';
import { examplesIn, kindsIn, problemsOf, Sentences, sourceOf } from '../files/file-report.js';
import { LabelShares } from '../files/label-shares.js';
import { Lines } from '../files/lines.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { galleryOf, MediaGallery } from '../media/media-gallery.js';
import { TrainingRecord } from '../files/record.js';
import { StateDot } from '../ui/state-pill.js';
import { ago, bytes, count, moment } from '../format.js';
import { jobName } from '../job/job-text.js';

const PAGE = 20;

/** Jobs that use a file, or the newest of them. */
type Users = Pick<ListPage<JobObject>, 'data' | 'has_more'>;
const NO_JOBS: Users = { data: [], has_more: false };

/** One file: its properties, the result of its check, its examples, and the jobs that use it. */
export function FilePage({ id, after }: { id: string; after: number }) {
  const file = useLoaded(['file', id], () => api.file(id));
  const mayJobs = useMayRequest()('jobs:read');
  const jobs = useLoaded(['jobs-with', id, mayJobs], async () =>
    mayJobs ? await api.jobs(new URLSearchParams({ search: id, archived: 'any' })) : NO_JOBS,
  );
  const [error, setError] = useState<Error | null>(null);
  const { value } = file;
  useEffect(() => {
    if (value) document.title = `${value.filename} · Graft`;
  }, [value]);
  const head = {
    crumbs: [
      <Link key="files" to="/files">
        Files
      </Link>,
    ],
    width: 'full',
  } as const;
  if (!value)
    return (
      <Page {...head} title={file.error ? 'File not found' : 'File'}>
        <Failure error={file.error} />
        <Loading error={file.error} />
      </Page>
    );
  const users = jobs.value ?? NO_JOBS;
  return (
    <Page
      {...head}
      title={value.filename}
      status={<Usable isUsable={value.status !== 'error'} />}
      actions={<Actions file={value} users={users} onError={setError} />}
    >
      <Failure error={error ?? file.error} />
      {problemsOf(value).length > 0 && (
        <Callout tone="error" title="This file cannot be used for training">
          <Sentences of={problemsOf(value)} />
        </Callout>
      )}
      <Numbers file={value} />
      {value.graft && <Warnings id={id} report={value.graft} />}
      <div className={value.graft?.labels ? 'file-columns' : undefined}>
        {value.purpose === 'fine-tune' && (
          <Examples key={after} id={id} after={after} total={value.graft?.records ?? null} />
        )}
        <div>
          {value.graft?.labels && <LabelShares labels={value.graft.labels} />}
          {users.data.length > 0 && <UsedBy {...users} />}
        </div>
      </div>
    </Page>
  );
}

const Usable = ({ isUsable }: { isUsable: boolean }) => (
  <span className={isUsable ? 'pill' : 'pill bad'}>
    {isUsable ? <CircleCheck aria-hidden="true" /> : <CircleX aria-hidden="true" />}{' '}
    {isUsable ? 'ready' : 'unusable'}
  </span>
);

interface ActionsProps {
  readonly file: FileObject;
  readonly users: Users;
  readonly onError: (error: Error) => void;
}

function Actions({ file, users, onError }: ActionsProps) {
  const usable = file.status !== 'error';
  const may = useMay();
  const confirm = useConfirm();
  const toast = useToast();
  const formats = useRecordFormats();
  const navigate = useNavigate();
  const remove = () => {
    confirm(lossOf(file, formats, users), 'Delete', () =>
      api.deleteFile(file.id).then(() => navigate({ to: '/files' }), onError),
    );
  };
  const more: (Action | typeof LINE)[] = [
    {
      label: 'Copy ID',
      icon: <Copy />,
      act: () => void copyText(file.id).then(() => toast(`Copied ${file.id}`)),
    },
  ];
  if (may('files:write'))
    more.push(LINE, { label: 'Delete…', icon: <Trash2 />, isDanger: true, act: remove });
  return (
    <>
      <Button icon={<Download />} onClick={() => download(file.id, file.filename).catch(onError)}>
        Download
      </Button>
      {usable && file.purpose === 'fine-tune' && may('jobs:write', 'models:read') && (
        <ButtonLink to="/new" search={{ training_file: file.id }} variant="primary">
          Train on it
        </ButtonLink>
      )}
      <ActionMenu label={`Actions for ${file.filename}`} actions={more} />
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

/** Result of the check as large numbers. */
function Numbers({ file }: { file: FileObject }) {
  const { graft: report } = file;
  const kinds = kindsIn(report ?? { formats: {} }, useRecordFormats());
  const source = report && sourceOf(report);
  const fitting = report?.tasks?.filter(({ fits }) => fits).map(({ task }) => task);
  return (
    <Stats label="Report">
      {report && kinds.length !== 1 && <Stat label="Examples" value={count(report.records)} />}
      {kinds.map(([n, name]) => (
        <Stat key={name} label={capitalized(name)} value={count(n)} />
      ))}
      {report && <Stat label="Duplicates" value={count(report.duplicates)} />}
      {report?.longest_line && (
        <Stat
          label="Longest"
          value={bytes(report.longest_line.bytes)}
          note={`line ${count(report.longest_line.line)}`}
        />
      )}
      {fitting && (
        <Stat label="Fits" value={fitting.length} note={fitting.join(', ') || 'no task'} />
      )}
      <Stat
        label="Size"
        value={bytes(file.bytes)}
        {...(source && { note: `read from ${source}` })}
      />
      <Stat
        label="Added"
        value={ago(file.created_at)}
        title={moment(file.created_at)}
        {...(file.expires_at && { note: `expires ${moment(file.expires_at)}` })}
      />
    </Stats>
  );
}

const capitalized = (text: string): string => text.replace(/^./, (first) => first.toUpperCase());

function Warnings({ id, report }: { id: string; report: FileReport }) {
  const { warnings, duplicates, duplicate_lines: repeated } = report;
  if (warnings.length === 0) return null;
  return (
    <Callout
      tone="warn"
      title={warnings.length === 1 ? 'One warning' : `${warnings.length} warnings`}
    >
      <Sentences of={warnings} />
      <Lines file={id} lines={repeated} all={duplicates} what="a duplicate" />
    </Callout>
  );
}

function UsedBy({ data: jobs, has_more: more }: Users) {
  return (
    <Section title="Jobs that use it" label="Jobs">
      <ul className="users">
        {jobs.slice(0, 8).map((job) => (
          <li key={job.id}>
            <Link to="/jobs/$id" params={{ id: job.id }}>
              {jobName(job)}
            </Link>{' '}
            <StateDot status={job.status} />
          </li>
        ))}
        {jobs.length > 8 && (
          <li className="faint">
            and {jobs.length - 8}
            {more && ' or more'} others
          </li>
        )}
      </ul>
    </Section>
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
    <Section
      title="Examples"
      actions={
        <span className="legend">
          <i aria-hidden="true" /> trained on
        </span>
      }
    >
      <Failure error={page.error} />
      {page.value === null ? (
        !page.error && <Skeleton height={96} rows={Math.min(total ?? PAGE, PAGE)} />
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
          <Button disabled={after === 0} onClick={() => to(Math.max(0, after - PAGE))}>
            ← Previous
          </Button>
          <span className="faint numbers">
            {items.length > 0 && `lines ${count(items[0]?.line ?? 0)}–${count(last)}`}
            {total !== null && ` of ${count(total)} examples`}
          </span>
          <Button disabled={!page.value?.has_more} onClick={() => to(last)}>
            Next →
          </Button>
        </nav>
      )}
    </Section>
  );
}
