import type { ModelObject } from '@graft/contracts';
import { operationTitle } from '@graft/contracts/job-kinds';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { archive } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Row, Table } from '../ui/table.js';
import { ago, bytes, count, modelTitle } from '../format.js';

const USE = {
  chat: 'Chat',
  embed: 'Embed',
  classify: 'Classify',
  transcribe: 'Transcribe',
} as const;
const SIGNS = { ready: '✓', importing: '◌', error: '✕' } as const;

export function ModelsPage() {
  const models = useLoaded(['models'], async () => (await api.models()).data, 3000);
  const [source, setSource] = useState('');
  const [error, setError] = useState<Error | null>(null);
  const may = useMay();

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    api.importModel(source.trim()).then(() => {
      setSource('');
      models.reload();
    }, setError);
  };

  return (
    <main>
      <h1>Models</h1>
      {may('admin') && (
        <form className="bar" onSubmit={submit}>
          <input
            className="wide"
            required
            aria-label="Source of the base model"
            placeholder="hub:HuggingFaceTB/SmolLM2-135M-Instruct or dir:/path/on/the/server"
            value={source}
            onChange={(e) => setSource(e.target.value)}
          />
          <button className="main">Import base</button>
        </form>
      )}
      <Failure error={error ?? models.error} />
      {models.value?.length === 0 ? (
        <div className="card">
          <h2>No models yet</h2>
          <p>
            {may('admin')
              ? 'Jobs train adapters for a base model. Import one to get started: a Hugging Face repository, or a directory or GGUF file on the server.'
              : 'Base models are imported by an admin; fine-tuned models appear here when their jobs finish.'}
          </p>
        </div>
      ) : models.value === null ? (
        <Loading error={models.error} />
      ) : (
        <ModelTable models={models.value} onError={setError} reload={models.reload} />
      )}
    </main>
  );
}

/** Describes what deleting a model removes and keeps. */
const deletion = (model: ModelObject): string =>
  model.graft?.kind === 'base'
    ? `Delete the base model ${model.id}? It cannot be trained on or chatted with until it is imported again. A base that a job or fine-tuned model uses cannot be deleted.`
    : `Delete ${model.id}? Programs that use this name will get an error. This cannot be undone. The files and checkpoints of its job are kept.`;

interface TableProps {
  readonly models: readonly ModelObject[];
  readonly onError: (error: Error) => void;
  readonly reload: () => void;
}

function ModelTable({ models, onError, reload }: TableProps) {
  return (
    <Table
      columns={['Model', 'Kind', 'Family', 'Base', 'Parameters', 'Size', 'State', 'Added', '']}
    >
      {models.map((model) => (
        <ModelRow key={model.id} model={model} onError={onError} reload={reload} />
      ))}
    </Table>
  );
}

/** Kind of a model, or the operation and source models that created it. */
function Kind({ model: { graft } }: { model: ModelObject }) {
  const { kind, operation } = graft ?? {};
  if (!operation) return kind === 'full' ? 'fine-tuned, full' : (kind ?? '–');
  return (
    <>
      {operationTitle(operation)}
      <div className="faint">from {operation.adapters.map(modelTitle).join(', ')}</div>
    </>
  );
}

function ModelRow({
  model,
  onError,
  reload,
}: {
  model: ModelObject;
  onError: (error: Error) => void;
  reload: () => void;
}) {
  const confirm = useConfirm();
  const {
    kind,
    family,
    base,
    job,
    status = 'ready',
    status_details,
    progress,
    parameters,
    bytes: size,
    uses,
  } = model.graft ?? {};
  const may = useMay();
  return (
    <Row>
      <td className="break">{model.id}</td>
      <td>
        <Kind model={model} />
      </td>
      <td>{family ?? '–'}</td>
      <td className="break">{base ?? '–'}</td>
      <td className="numbers">{parameters ? count(parameters) : '–'}</td>
      <td className="numbers">{size ? bytes(size) : '–'}</td>
      <td>
        <span className="state">
          <span aria-hidden="true">{SIGNS[status]}</span> {status}
        </span>
        {status === 'importing' && (
          <progress value={progress ?? undefined} max={1} aria-label="imported" />
        )}
        {status_details && <div className="faint pre">{status_details}</div>}
      </td>
      <td className="numbers">{ago(model.created)}</td>
      <td className="actions">
        {job && may('jobs:read') && (
          <Link className="button" to="/jobs/$id" params={{ id: job }}>
            Job
          </Link>
        )}
        {status === 'ready' && kind !== 'export' && (
          <Link className="button" to="/chat" search={{ model: model.id }}>
            {USE[uses?.[0] ?? 'chat']}
          </Link>
        )}
        {kind === 'export' && may('files:read') && (
          <button
            aria-label={`Download ${model.id}`}
            onClick={() => archive(model.id).catch(onError)}
          >
            Download
          </button>
        )}
        {may(kind === 'base' ? 'admin' : 'models:write') && (
          <button
            aria-label={`Delete ${model.id}`}
            onClick={() =>
              confirm(deletion(model), 'Delete', () =>
                api.deleteModel(model.id).then(reload, onError),
              )
            }
          >
            Delete
          </button>
        )}
      </td>
    </Row>
  );
}
