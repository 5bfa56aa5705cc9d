import type { FileObject } from '@graft/contracts';
import { useRef, useState } from 'react';
import { api, download } from '../api.js';
import { useLoaded } from '../loading.js';
import { Failure } from '../parts/failure.js';
import { ago, bytes, moment } from '../wording.js';

export function FilesPage() {
  const files = useLoaded(async () => (await api.files()).data, 5000);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const picker = useRef<HTMLInputElement>(null);

  const upload = async (chosen: FileList | null) => {
    setError(null);
    for (const file of chosen ?? []) {
      setBusy(file.name);
      await api.upload(file).catch(setError);
    }
    setBusy(null);
    files.reload();
  };

  return (
    <main>
      <h1>Files</h1>
      <p className="bar" onDragOver={(e) => e.preventDefault()} onDrop={(e) => (e.preventDefault(), void upload(e.dataTransfer.files))}>
        <input ref={picker} type="file" accept=".jsonl" multiple hidden onChange={(e) => void upload(e.target.files)} />
        <button className="main" disabled={busy !== null} onClick={() => picker.current?.click()}>
          {busy ? `Uploading ${busy}…` : 'Upload .jsonl'}
        </button>
        <span className="faint">or drop files here. One JSON object a line: messages, prompt and completion, or text.</span>
      </p>
      <Failure error={error ?? files.error} />
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th>Name</th>
              <th>Id</th>
              <th>Purpose</th>
              <th>Size</th>
              <th>State</th>
              <th>Added</th>
              <th />
            </tr>
          </thead>
          <tbody>
            {(files.value ?? []).map((file) => (
              <FileRow key={file.id} file={file} onError={setError} reload={files.reload} />
            ))}
          </tbody>
        </table>
      </div>
      {files.value?.length === 0 && <p className="faint">No file yet.</p>}
    </main>
  );
}

function FileRow({ file, onError, reload }: { file: FileObject; onError: (error: Error) => void; reload: () => void }) {
  return (
    <tr>
      <td>{file.filename}</td>
      <td>
        <code>{file.id}</code>
      </td>
      <td>{file.purpose}</td>
      <td className="numbers">{bytes(file.bytes)}</td>
      <td>
        {file.status === 'error' ? '✕ ' : ''}
        {file.status}
        {file.status_details && <div className="faint pre">{file.status_details}</div>}
      </td>
      <td title={moment(file.created_at)}>{ago(file.created_at)}</td>
      <td>
        <button onClick={() => download(file.id, file.filename).catch(onError)}>Download</button>{' '}
        <button onClick={() => confirm(`Delete ${file.filename}?`) && api.deleteFile(file.id).then(reload, onError)}>Delete</button>
      </td>
    </tr>
  );
}
