import type { EvalObject, EvalRunObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { Copy, Trash2 } from 'lucide-react';
import { isChat } from '../evals/new-eval.js';
import { Button } from '../ui/controls/button.js';
import { copyText } from '../ui/controls/copy-button.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';
import { Page, Section } from '../ui/page.js';
import {
  criterionText,
  modelText,
  passedText,
  passShare,
  runName,
  RunPill,
} from '../evals/eval-results.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
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
  const toast = useToast();
  const { value } = found;
  useEffect(() => {
    if (value) document.title = `${value.name || value.id} · Graft`;
  }, [value]);
  const crumbs = [
    <Link key="evals" to="/evals">
      Evals
    </Link>,
  ];
  if (!value)
    return (
      <Page title={found.error ? 'Eval not found' : 'Eval'} crumbs={crumbs}>
        <Failure error={found.error} />
        <Loading error={found.error} />
      </Page>
    );
  const remove = () => {
    const lost = `Delete the eval ${value.name || id} with its ${runs.value?.length ?? 0} runs and all their results? This cannot be undone.`;
    confirm(lost, 'Delete', () =>
      api.deleteEval(id).then(() => navigate({ to: '/evals' }), setError),
    );
  };
  const more: (Action | typeof LINE)[] = [
    {
      label: 'Copy ID',
      icon: <Copy />,
      act: () => void copyText(id).then(() => toast(`Copied ${id}`)),
    },
  ];
  if (may('jobs:write'))
    more.push(LINE, { label: 'Delete…', icon: <Trash2 />, isDanger: true, act: remove });
  return (
    <Page
      title={value.name || value.id}
      crumbs={crumbs}
      actions={<ActionMenu label={`Actions for ${value.name || value.id}`} actions={more} />}
      subtitle={<Facts of={value} />}
    >
      <Failure error={error ?? runs.error} />
      {runs.value === null ? (
        <Loading error={runs.error} />
      ) : (
        <>
          {may('jobs:write', 'models:read') && (
            <RunAgain of={id} runs={runs.value} onMade={runs.reload} onError={setError} />
          )}
          <Runs of={id} runs={runs.value} />
        </>
      )}
      <Criteria of={value} />
    </Page>
  );
}

const Facts = ({ of: { created_at: at, metadata } }: { of: EvalObject }) => (
  <>
    <span title={moment(at)}>Added {ago(at)}</span>
    {Object.entries(metadata).map(([name, text]) => (
      <span key={name} className="break">
        {' '}
        · {name}: {text}
      </span>
    ))}
  </>
);

function Criteria({ of }: { of: EvalObject }) {
  return (
    <Section title="Graders">
      <Table columns={['Grader', 'Kind', 'Passes']}>
        {of.testing_criteria.map((one) => (
          <Row key={one.name}>
            <td className="break">{one.name}</td>
            <td>{one.type}</td>
            <td className="break">{criterionText(one)}</td>
          </Row>
        ))}
      </Table>
    </Section>
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
    <Section
      title="Runs"
      actions={
        runs.length > 1 && (
          <Button
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
          </Button>
        )
      }
    >
      {runs.length === 0 ? (
        <p className="faint">
          No runs yet. Run a model with{' '}
          <code>graft evals run {of} --model MODEL --items items.jsonl --ask TEMPLATE</code>, or
          with OpenAI’s SDK.
        </p>
      ) : (
        <Table columns={COLUMNS} numbers={['Passed', 'Share']}>
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
    </Section>
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
    <Section title="Run it on another model" isCard>
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
        <Button type="submit" variant="primary">
          Run
        </Button>
      </form>
    </Section>
  );
}
