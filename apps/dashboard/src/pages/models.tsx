import type { ModelObject } from '@graft/contracts';
import { useState, type FormEvent } from 'react';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { useMay } from '../own-key.js';
import { Failure } from '../parts/failure.js';
import { Loading } from '../parts/loading.js';
import { Row, Table } from '../parts/table.js';
import { ago, bytes, count } from '../wording.js';

const SIGNS = { ready: '✓', importing: '◌', error: '✕' } as const;

export function ModelsPage() {
  const models = useLoaded(async () => (await api.models()).data, 3000);
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
            aria-label="Where the base model is"
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
          <h2>No model yet</h2>
          <p>
            {may('admin')
              ? 'Import a base model to start: a Hugging Face repository, a folder or a GGUF file on the server.'
              : 'An admin imports base models; fine-tuned ones appear here when their jobs are done.'}
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

/** What else is lost with a model, and what is not. */
const deletion = (model: ModelObject): string =>
  model.graft?.kind === 'base'
    ? `Delete the base ${model.id}? Nobody can train on it or chat with it until it is imported again. Graft refuses while a job or a fine-tuned model needs it.`
    : `Delete ${model.id}? Programs that use this name get an error from then on, and this cannot be undone. The files and checkpoints of its job stay.`;

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

function ModelRow({
  model,
  onError,
  reload,
}: {
  model: ModelObject;
  onError: (error: Error) => void;
  reload: () => void;
}) {
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
  } = model.graft ?? {};
  const may = useMay();
  return (
    <Row>
      <td className="break">{model.id}</td>
      <td>{kind === 'full' ? 'fine-tuned, full' : (kind ?? '–')}</td>
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
          <a className="button" {...linkTo(`/jobs/${job}`)}>
            Job
          </a>
        )}
        {status === 'ready' && (
          <a className="button" {...linkTo(`/chat?model=${encodeURIComponent(model.id)}`)}>
            Chat
          </a>
        )}
        {may(kind === 'base' ? 'admin' : 'models:write') && (
          <button
            aria-label={`Delete ${model.id}`}
            onClick={() =>
              confirm(deletion(model)) && api.deleteModel(model.id).then(reload, onError)
            }
          >
            Delete
          </button>
        )}
      </td>
    </Row>
  );
}
