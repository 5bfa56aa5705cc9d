import { useState, type FormEvent } from 'react';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { Failure } from '../parts/failure.js';
import { ago, bytes, count } from '../wording.js';

export function ModelsPage() {
  const models = useLoaded(async () => (await api.models()).data, 3000);
  const [source, setSource] = useState('');
  const [error, setError] = useState<Error | null>(null);

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
      <form className="bar" onSubmit={submit}>
        <input className="wide" required aria-label="Where the base model is" placeholder="hub:HuggingFaceTB/SmolLM2-135M-Instruct or dir:/path/on/the/server" value={source} onChange={(e) => setSource(e.target.value)} />
        <button className="main">Import base</button>
      </form>
      <Failure error={error ?? models.error} />
      <div className="scroll">
        <table>
          <thead>
            <tr>
              {['Model', 'Kind', 'Family', 'Base', 'Parameters', 'Size', 'State', 'Added', ''].map((name) => (
                <th key={name}>{name}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {(models.value ?? []).map((model) => (
              <tr key={model.id}>
                <td>{model.id}</td>
                <td>{model.graft?.kind ?? '–'}</td>
                <td>{model.graft?.family ?? '–'}</td>
                <td>{model.graft?.base ?? '–'}</td>
                <td className="numbers">{model.graft?.parameters ? count(model.graft.parameters) : '–'}</td>
                <td className="numbers">{model.graft ? bytes(model.graft.bytes) : '–'}</td>
                <td>
                  {model.graft?.status ?? 'ready'}
                  {model.graft?.status === 'importing' && model.graft.progress !== null && <progress value={model.graft.progress} max={1} aria-label="imported" />}
                  {model.graft?.status_details && <div className="faint pre">{model.graft.status_details}</div>}
                </td>
                <td>{ago(model.created)}</td>
                <td>
                  <a className="button" {...linkTo(`/chat?model=${encodeURIComponent(model.id)}`)}>
                    Talk
                  </a>{' '}
                  <button onClick={() => confirm(`Delete ${model.id}?`) && api.deleteModel(model.id).then(models.reload, setError)}>Delete</button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {models.value?.length === 0 && <p className="faint">No model yet: import a base model to start.</p>}
    </main>
  );
}
