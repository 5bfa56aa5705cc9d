import type { FileObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useContext, useEffect, useRef, useState, type DragEvent } from 'react';
import { api } from '../api/api.js';
import { download } from '../api/download.js';
import { ACCEPTED, upload, useUploads } from '../files/uploads.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { namesOf, RecordFormats } from '../files/record-formats.js';
import { ColumnPick } from '../files/column-pick.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/failure.js';
import { examplesIn, FileReport, problemsOf } from '../files/file-report.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Row, Table } from '../ui/table.js';
import { ago, bytes, moment } from '../format.js';
import { lossOf } from './file.js';

const PURPOSES = [
  ['fine-tune', 'training data'],
  ['fine-tune-results', 'job results'],
  ['', 'all files'],
] as const;

export function FilesPage({ purpose }: { purpose: string }) {
  const files = useLoaded(['files', purpose], async () => (await api.files(purpose)).data, 5000);
  const uploads = useUploads();
  const [error, setError] = useState<Error | null>(null);
  const picker = useRef<HTMLInputElement>(null);
  const may = useMay();
  const mayWrite = may('files:write');
  const formats = useContext(RecordFormats);
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
    <main onDragOver={(e) => e.preventDefault()} onDrop={drop}>
      <h1>Files</h1>
      {mayWrite && (
        <div className="bar">
          <input
            ref={picker}
            type="file"
            aria-label="Files to upload"
            accept={ACCEPTED}
            multiple
            hidden
            onChange={(e) => {
              upload([...(e.target.files ?? [])]);
              e.target.value = ''; // Allows the same file to be chosen again after it was fixed.
            }}
          />
          <button className="main" onClick={() => picker.current?.click()}>
            Upload data
          </button>
          <span className="faint">
            or drop files here: JSON Lines, JSON, CSV, Parquet or Arrow with {namesOf(formats)}; or
            a .zip or .tar of images or audio, with one folder per label or a metadata.csv.
          </span>
        </div>
      )}
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
      {files.value?.length === 0 && purpose === 'fine-tune-results' && (
        <p>
          No finished jobs yet. Their results appear here: adapters and per-step metrics.{' '}
          {may('jobs:write') && <Link to="/new">New job</Link>}
        </p>
      )}
      {files.value?.length === 0 && purpose !== 'fine-tune-results' ? (
        <NoFile />
      ) : files.value === null ? (
        <Loading error={files.error} />
      ) : (
        files.value.length > 0 && (
          <>
            <Unusable files={files.value} onError={setError} reload={reload} />
            <FileTable files={files.value} onError={setError} reload={reload} />
          </>
        )
      )}
    </main>
  );
}

function NoFile() {
  return (
    <div className="card">
      <h2>No files yet</h2>
      <p>
        Training data is what jobs learn from: a text file with one example per line, such as this
        one, or a table. Problems are reported line by line on upload.
      </p>
      <pre>
        {
          '{"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}'
        }
      </pre>
    </div>
  );
}

function PurposePick({ purpose }: { purpose: string }) {
  const navigate = useNavigate();
  return (
    <p className="bar">
      <label htmlFor="purpose">Show</label>
      <select
        id="purpose"
        value={purpose}
        onChange={(e) => void navigate({ to: '/files', search: { purpose: e.target.value } })}
      >
        {PURPOSES.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </p>
  );
}

interface TableProps {
  readonly files: readonly FileObject[];
  readonly onError: (error: Error) => void;
  readonly reload: () => void;
}

function FileTable({ files, onError, reload }: TableProps) {
  const confirm = useConfirm();
  const formats = useContext(RecordFormats);
  const mayWrite = useMay()('files:write');
  return (
    <Table columns={['Name', 'Contents', 'Size', 'State', 'Added', '']}>
      {files.map((file) => (
        <Row key={file.id}>
          <td className="break">
            <Link to="/files/$id" params={{ id: file.id }}>
              {file.filename}
            </Link>
            <div className="faint">
              <code>{file.id}</code>
            </div>
          </td>
          <td>{file.graft ? examplesIn(file.graft, formats) : file.purpose}</td>
          <td className="numbers">{bytes(file.bytes)}</td>
          <td>
            <State file={file} />
          </td>
          <td className="numbers" title={moment(file.created_at)}>
            {ago(file.created_at)}
          </td>
          <td className="actions">
            <button onClick={() => download(file.id, file.filename).catch(onError)}>
              Download
            </button>
            {mayWrite && (
              <button
                onClick={() =>
                  confirm(lossOf(file, formats), 'Delete', () =>
                    api.deleteFile(file.id).then(reload, onError),
                  )
                }
              >
                Delete
              </button>
            )}
          </td>
        </Row>
      ))}
    </Table>
  );
}

function State({ file }: { file: FileObject }) {
  const warnings = file.graft?.warnings.length ?? 0;
  if (file.status !== 'error')
    return (
      <>
        <span aria-hidden="true">✓</span> {file.status === 'processed' ? 'ready' : file.status}
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
      <span className="bad">
        <span aria-hidden="true">✕</span> unusable
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
    <p className="bar">
      <span className="bad">{many} cannot be used for training.</span>
      <button
        className="small"
        onClick={() =>
          confirm(
            `Delete ${many.toLowerCase()} that cannot be used? This cannot be undone.`,
            'Delete',
            remove,
          )
        }
      >
        Delete {bad.length === 1 ? 'it' : 'them'}
      </button>
    </p>
  );
}
