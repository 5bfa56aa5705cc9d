import type { EvalObject, EvalRunObject, ModelObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import {
  criterionText,
  modelText,
  passedText,
  passShare,
  runName,
  RunPill,
} from '../evals/eval-results.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { Row, Table } from '../ui/table.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

/** One eval: its graders, its runs, and a form to run another model. */
export function EvalPage({ id }: { id: string }) {
  const confirm = useConfirm();
  const found = useLoaded(['eval', id], () => api.eval(id));
  const runs = useLoaded(['eval-runs', id], () => api.evalRuns(id), 3000);
  const [error, setError] = useState<Error | null>(null);
  const navigate = useNavigate();
  const may = useMay();
  const { value } = found;
  useEffect(() => {
    if (value) document.title = `${value.name || value.id} · Graft`;
  }, [value]);
  if (!value)
    return (
      <main>
        <Failure error={found.error} />
        <Loading error={found.error} />
      </main>
    );
  const remove = () => {
    const lost = `Delete the eval ${value.name || id} with its ${runs.value?.length ?? 0} runs and all their results? This cannot be undone.`;
    confirm(lost, 'Delete', () =>
      api.deleteEval(id).then(() => navigate({ to: '/evals' }), setError),
    );
  };
  return (
    <main>
      <p className="crumb">
        <Link to="/evals">Evals</Link>
      </p>
      <div className="bar head">
        <h1 className="name">{value.name || value.id}</h1>
        <span className="grow" />
        {may('jobs:write') && <button onClick={remove}>Delete</button>}
      </div>
      <p className="facts faint">
        <span className="break">
          <code>{id}</code> <CopyButton text={id} label="Copy ID" />
        </span>
        <span title={moment(value.created_at)}>added {ago(value.created_at)}</span>
        {Object.entries(value.metadata).map(([name, text]) => (
          <span key={name} className="break">
            {name}: {text}
          </span>
        ))}
      </p>
      <Failure error={error ?? runs.error} />
      <Criteria of={value} />
      {runs.value === null ? (
        <Loading error={runs.error} />
      ) : (
        <>
          <Runs of={id} runs={runs.value} />
          {may('jobs:write', 'models:read') && (
            <RunAgain of={id} runs={runs.value} onMade={runs.reload} onError={setError} />
          )}
        </>
      )}
    </main>
  );
}

function Criteria({ of }: { of: EvalObject }) {
  return (
    <section aria-label="Graders">
      <h2>Graders</h2>
      <Table columns={['Grader', 'Kind', 'Passes']}>
        {of.testing_criteria.map((one) => (
          <Row key={one.name}>
            <td className="break">{one.name}</td>
            <td>{one.type}</td>
            <td className="break">{criterionText(one)}</td>
          </Row>
        ))}
      </Table>
    </section>
  );
}

const COLUMNS = ['Compare', 'Run', 'Model', 'State', 'Passed', 'Share', 'Added'];

function Runs({ of, runs }: { of: string; runs: readonly EvalRunObject[] }) {
  const navigate = useNavigate();
  const [chosen, setChosen] = useState<readonly string[]>([]);
  // Keeps the last two selected.
  const choose = (id: string) =>
    setChosen((now) =>
      now.includes(id) ? now.filter((one) => one !== id) : [...now, id].slice(-2),
    );
  const [left, right] = chosen;
  return (
    <section aria-label="Runs">
      <div className="bar">
        <h2 className="grow">Runs</h2>
        {runs.length > 1 && (
          <button
            disabled={left === undefined || right === undefined}
            onClick={() =>
              void navigate({
                to: '/evals/$id/compare',
                params: { id: of },
                search: { left: left ?? '', right: right ?? '' },
              })
            }
          >
            Compare the two selected
          </button>
        )}
      </div>
      {runs.length === 0 ? (
        <p className="faint">
          None yet.{' '}
          <code>graft evals run {of} --model MODEL --items items.jsonl --ask TEMPLATE</code> runs a
          model; runs made through OpenAI’s SDK appear here, too.
        </p>
      ) : (
        <Table columns={COLUMNS}>
          {runs.map((run) => (
            <Row key={run.id}>
              <td>
                <input
                  type="checkbox"
                  aria-label={`Compare ${runName(run)}`}
                  checked={chosen.includes(run.id)}
                  onChange={() => choose(run.id)}
                />
              </td>
              <td className="break">
                <Link to="/evals/$id/$run" params={{ id: of, run: run.id }}>
                  {runName(run)}
                </Link>
              </td>
              <td className="break">{modelText(run)}</td>
              <td>
                <RunPill status={run.status} />
              </td>
              <td className="numbers">{passedText(run)}</td>
              <td className="numbers">{passShare(run)}</td>
              <td className="numbers" title={moment(run.created_at)}>
                {ago(run.created_at)}
              </td>
            </Row>
          ))}
        </Table>
      )}
    </section>
  );
}

interface AgainProps {
  readonly of: string;
  readonly runs: readonly EvalRunObject[];
  readonly onMade: () => void;
  readonly onError: (error: Error) => void;
}

/** Form that repeats a run with another model. */
function RunAgain({ of, runs, onMade, onError }: AgainProps) {
  const models = useLoaded(['models'], async () => (await api.models()).data);
  const [model, setModel] = useState('');
  const patterns = runs.filter((run) => run.model !== '');
  const [like, setLike] = useState<string | null>(null);
  const pattern = patterns.find(({ id }) => id === like) ?? patterns[0];
  if (!pattern) return null;
  const chats = (models.value ?? []).filter(isChat);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const body = { name: model, data_source: { ...pattern.data_source, model } };
    api.createEvalRun(of, body).then(() => {
      setModel('');
      onMade();
    }, onError);
  };
  return (
    <section aria-label="Run it on another model">
      <h2>Run it on another model</h2>
      <form className="bar" onSubmit={submit}>
        <select
          required
          aria-label="Model"
          value={model}
          onChange={(event) => setModel(event.target.value)}
        >
          <option value="">Choose a model</option>
          {chats.map(({ id }) => (
            <option key={id}>{id}</option>
          ))}
        </select>
        <label>
          with the items and prompt of{' '}
          <select value={pattern.id} onChange={(event) => setLike(event.target.value)}>
            {patterns.map((run) => (
              <option key={run.id} value={run.id}>
                {runName(run)}
              </option>
            ))}
          </select>
        </label>
        <button className="main">Run</button>
      </form>
    </section>
  );
}

const isChat = ({ graft }: ModelObject): boolean =>
  (graft?.status ?? 'ready') === 'ready' && (graft?.uses?.[0] ?? 'chat') === 'chat';
