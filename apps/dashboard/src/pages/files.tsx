import type { FileObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { CircleCheck, CircleX, Copy, Download, FileUp, Trash2 } from 'lucide-react';
import { useEffect, useRef, useState, type DragEvent } from 'react';
import { api } from '../api/api.js';
import { download } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { ColumnPick } from '../files/column-pick.js';
import { examplesIn, FileReport, labelsIn, problemsOf } from '../files/file-report.js';
import { namesOf, useRecordFormats } from '../files/record-formats.js';
import { ACCEPTED, upload, useUploads } from '../files/uploads.js';
import { ago, bytes, moment } from '../format.js';
import { Callout } from '../ui/feedback/callout.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { copyText } from '../ui/controls/copy-button.js';
import { Segmented } from '../ui/controls/segmented.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';
import { Page } from '../ui/page.js';
import { Row, Table } from '../ui/table.js';
import { lossOf } from './file.js';

const PURPOSES = [
  ['fine-tune', 'Training data'],
  ['fine-tune-results', 'Job results'],
  ['', 'All files'],
] as const;

/** Uploaded training data, and the files that jobs wrote. */
export function FilesPage({ purpose }: { purpose: string }) {
  const files = useLoaded(['files', purpose], async () => (await api.files(purpose)).data, 5000);
  const uploads = useUploads();
  const [error, setError] = useState<Error | null>(null);
  const mayWrite = useMay()('files:write');
  const fresh = uploads.flatMap(({ file }) => file ?? []);
  const { reload } = files;
  useEffect(() => {
    if (fresh.length > 0) reload();
  }, [fresh.length, reload]);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    if (mayWrite) upload([...event.dataTransfer.files]);
  };
  return (
    <div className="drop-page" onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <Page
        title="Files"
        width="full"
        actions={mayWrite && (files.value?.length ?? 0) > 0 && <UploadButton />}
      >
        <Failure error={error ?? files.error} />
        {uploads
          .filter(({ state }) => state === 'asks')
          .map((one) => (
            <ColumnPick key={one.id} table={one} />
          ))}
        {fresh.map((file) => (
          <FileReport key={file.id} file={file} />
        ))}
        <PurposePick purpose={purpose} />
        {files.value === null && <Loading error={files.error} />}
        {files.value?.length === 0 &&
          (purpose === 'fine-tune-results' ? <NoResults /> : <NoFile />)}
        {files.value !== null && files.value.length > 0 && (
          <>
            <Unusable files={files.value} onError={setError} reload={reload} />
            <FileTable files={files.value} onError={setError} reload={reload} />
          </>
        )}
      </Page>
    </div>
  );
}

function UploadButton() {
  const picker = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={picker}
        type="file"
        aria-label="Files to upload"
        accept={ACCEPTED}
        multiple
        hidden
        onChange={(event) => {
          upload([...(event.target.files ?? [])]);
          event.target.value = ''; // Allows the same file to be chosen again after it was fixed.
        }}
      />
      <Button variant="primary" icon={<FileUp />} onClick={() => picker.current?.click()}>
        Upload data
      </Button>
    </>
  );
}

const SAMPLE =
  '{"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}';

function NoFile() {
  const formats = useRecordFormats();
  const mayWrite = useMay()('files:write');
  return (
    <EmptyState
      icon={<FileUp />}
      title="No files yet"
      text={
        <>
          Training data is what jobs learn from. Drop a file here: JSON Lines, JSON, CSV, Parquet or
          Arrow with {namesOf(formats)}; or a .zip or .tar of images or audio with one folder per
          label. Problems are reported line by line.
        </>
      }
      actions={mayWrite && <UploadButton />}
    >
      <pre tabIndex={0}>{SAMPLE}</pre>
    </EmptyState>
  );
}

function NoResults() {
  const may = useMay();
  return (
    <EmptyState
      icon={<Download />}
      title="No results yet"
      text="No finished jobs yet. Their results appear here: adapters and per-step metrics."
      actions={
        may('jobs:write', 'models:read') && (
          <ButtonLink to="/new" variant="primary">
            New job
          </ButtonLink>
        )
      }
    />
  );
}

function PurposePick({ purpose }: { purpose: string }) {
  const navigate = useNavigate();
  return (
    <div className="bar">
      <Segmented
        label="Files to show"
        value={purpose}
        choices={PURPOSES}
        change={(value) => void navigate({ to: '/files', search: { purpose: value } })}
      />
    </div>
  );
}

interface TableProps {
  readonly files: readonly FileObject[];
  readonly onError: (error: Error) => void;
  readonly reload: () => void;
}

function FileTable({ files, onError, reload }: TableProps) {
  const formats = useRecordFormats();
  return (
    <Table columns={['Name', 'Contents', 'State', 'Size', 'Added', '']} numbers={['Size']}>
      {files.map((file) => (
        <Row key={file.id}>
          <td className="break">
            <Link to="/files/$id" params={{ id: file.id }}>
              <b>{file.filename}</b>
            </Link>
          </td>
          <td>
            {file.graft ? examplesIn(file.graft, formats) : file.purpose}
            {file.graft?.labels && `, ${labelsIn(file.graft.labels)}`}
          </td>
          <td>
            <State file={file} />
          </td>
          <td>{bytes(file.bytes)}</td>
          <td title={moment(file.created_at)}>{ago(file.created_at)}</td>
          <td className="actions">
            <Train file={file} />
            <FileActions file={file} onError={onError} removed={reload} />
          </td>
        </Row>
      ))}
    </Table>
  );
}

function Train({ file: { id, filename, purpose, status } }: { file: FileObject }) {
  const may = useMay();
  if (purpose !== 'fine-tune' || status === 'error' || !may('jobs:write', 'models:read'))
    return null;
  return (
    <ButtonLink
      to="/new"
      search={{ training_file: id }}
      size="s"
      aria-label={`Train on ${filename}`}
    >
      Train
    </ButtonLink>
  );
}

interface FileActionsProps {
  readonly file: FileObject;
  readonly onError: (error: Error) => void;
  readonly removed: () => void;
}

function FileActions({ file, onError, removed }: FileActionsProps) {
  const { id, filename } = file;
  const formats = useRecordFormats();
  const confirm = useConfirm();
  const toast = useToast();
  const actions: (Action | typeof LINE)[] = [
    {
      label: 'Download',
      icon: <Download />,
      act: () => download(id, filename).catch(onError),
    },
    {
      label: 'Copy ID',
      icon: <Copy />,
      act: () => void copyText(id).then(() => toast(`Copied ${id}`)),
    },
  ];
  if (useMay()('files:write'))
    actions.push(LINE, {
      label: 'Delete…',
      icon: <Trash2 />,
      isDanger: true,
      act: () =>
        confirm(lossOf(file, formats), 'Delete', () => api.deleteFile(id).then(removed, onError)),
    });
  return <ActionMenu label={`Actions for ${filename}`} actions={actions} />;
}

function State({ file }: { file: FileObject }) {
  const warnings = file.graft?.warnings.length ?? 0;
  if (file.status !== 'error')
    return (
      <>
        <span className="state-dot">
          <CircleCheck aria-hidden="true" /> {file.status === 'processed' ? 'ready' : file.status}
        </span>
        {warnings > 0 && (
          <div className="faint">
            <Link to="/files/$id" params={{ id: file.id }}>
              {warnings} warning{warnings === 1 ? '' : 's'}
            </Link>
          </div>
        )}
      </>
    );
  return (
    <>
      <span className="state-dot bad">
        <CircleX aria-hidden="true" /> unusable
      </span>
      <div className="faint clamp">{problemsOf(file)[0]}</div>
    </>
  );
}

/** Unusable files, which stay until the user deletes them. */
function Unusable({ files, onError, reload }: TableProps) {
  const mayWrite = useMay()('files:write');
  const confirm = useConfirm();
  const bad = files.filter(({ status }) => status === 'error');
  if (bad.length === 0 || !mayWrite) return null;
  const many = bad.length === 1 ? 'One file' : `${bad.length} files`;
  const remove = async () => {
    for (const { id } of bad) await api.deleteFile(id).catch(onError);
    reload();
  };
  return (
    <Callout
      tone="warn"
      title={`${many} cannot be used for training.`}
      action={
        <Button
          size="s"
          onClick={() =>
            confirm(
              `Delete ${many.toLowerCase()} that cannot be used? This cannot be undone.`,
              'Delete',
              remove,
            )
          }
        >
          Delete {bad.length === 1 ? 'it' : 'them'}
        </Button>
      }
    />
  );
}
