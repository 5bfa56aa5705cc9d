import type { SweepObject } from '@graft/contracts';
import { MAX_COMPARED } from '@graft/contracts/compared-jobs';
import {
  METRIC_NAMES,
  rankedTrials,
  scoreText,
  trialCountsText,
} from '@graft/contracts/sweep-text';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { COSTS, pointsOf } from '../sweeps/pareto.js';
import { ParetoChart } from '../sweeps/pareto-chart.js';
import { StatePill } from '../ui/state-pill.js';
import { TrialTable } from '../sweeps/trial-table.js';
import { Warnings } from '../ui/warnings.js';
import { ago, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

const POLL_MS = 3000;

/** One sweep: its best trial, and cost and quality of all trials. */
export function SweepPage({ id }: { id: string }) {
  const [over, setOver] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const may = useMay();
  const confirm = useConfirm();
  const found = useLoaded(['sweep', id], () => api.sweep(id), over ? 0 : POLL_MS);
  const { value } = found;
  useEffect(() => {
    if (!value) return;
    document.title = `${value.name} · Graft`;
    setOver(value.status !== 'queued' && value.status !== 'running');
  }, [value]);
  if (!value)
    return (
      <main>
        <Failure error={found.error} />
        <Loading error={found.error} />
      </main>
    );
  const cancel = () => {
    confirm(
      'Cancel all unfinished trials? Models of finished trials are kept.',
      'Cancel trials',
      () => api.cancelSweep(id).then(found.reload, setError),
    );
  };
  return (
    <main>
      <p className="crumb">
        <Link to="/sweeps">Sweeps</Link>
      </p>
      <div className="bar head">
        <StatePill status={value.status} />
        <h1 className="name">{value.name}</h1>
        <span className="grow" />
        <span className="actions">
          <Compare sweep={value} />
          {may('jobs:write') && !over && <button onClick={cancel}>Cancel</button>}
        </span>
      </div>
      <p className="facts faint">
        <span className="break">
          <code>{id}</code> <CopyButton text={id} label="Copy ID" />
        </span>
        <span className="break">{value.model}</span>
        <span>{searchText(value)}</span>
        <span>{trialCountsText(value)}</span>
        <span title={moment(value.created_at)}>added {ago(value.created_at)}</span>
      </p>
      <Failure error={error ?? found.error} />
      <Warnings warnings={value.warnings ?? []} />
      <Winner sweep={value} />
      <Tradeoff sweep={value} />
      <TrialTable sweep={value} />
    </main>
  );
}

/** Returns "asha by validation loss, rungs at steps 10, 30". */
function searchText({ search: { algorithm, metric, rungs } }: SweepObject): string {
  const at = rungs.length === 0 ? '' : `, rungs at steps ${rungs.join(', ')}`;
  return `${algorithm} by ${METRIC_NAMES[metric]}${at}`;
}

/** Link that compares the best trials. */
function Compare({ sweep }: { sweep: SweepObject }) {
  const initAdapter = (sweep.trials ?? []).filter(({ step }) => step > 0);
  if (initAdapter.length < 2) return null;
  const best = rankedTrials(initAdapter, sweep.search.metric).slice(0, MAX_COMPARED);
  return (
    <Link className="button" to="/compare" search={{ jobs: best.map(({ job }) => job).join() }}>
      Compare {best.length === initAdapter.length ? 'trials' : `the best ${best.length}`}
    </Link>
  );
}

function Winner({ sweep: { winner, status, search } }: { sweep: SweepObject }) {
  const may = useMay();
  const model = winner?.model;
  const shown = useLoaded(['model', model, may('models:read')], () =>
    model && may('models:read') ? api.model(model) : Promise.resolve(null),
  );
  if (!winner) return null;
  const isOver = status !== 'queued' && status !== 'running';
  const use = shown.value?.graft?.uses[0] ?? null;
  return (
    <section className="card good" aria-label={isOver ? 'Winner' : 'Best so far'}>
      <div className="bar">
        <b>
          {isOver ? 'Winner' : 'Best so far'}: trial {winner.trial}
        </b>
        <span>
          {METRIC_NAMES[search.metric]} {scoreText(winner.score, search.metric)}
        </span>
        <span className="grow" />
        <span className="actions">
          <Link className="button" to="/jobs/$id" params={{ id: winner.job }}>
            Open job
          </Link>
          {use && (
            <Link className="button main" to="/chat" search={{ model: winner.model }}>
              {USES[use]}
            </Link>
          )}
        </span>
      </div>
      <p className="break faint">{winner.model}</p>
    </section>
  );
}

const USES = {
  chat: 'Chat with it',
  embed: 'Embed texts',
  classify: 'Classify with it',
  transcribe: 'Transcribe with it',
} as const;

/** Chart of the trials' scores over their costs. */
function Tradeoff({ sweep }: { sweep: SweepObject }) {
  const [by, setBy] = useState('time');
  const cost = COSTS[by] ?? COSTS['time']!;
  const points = pointsOf(sweep.trials ?? [], sweep.search.metric, cost);
  return (
    <section aria-label="Quality and cost">
      <div className="bar">
        <h2 className="grow">Quality and cost</h2>
        <label>
          Cost{' '}
          <select value={by} onChange={(event) => setBy(event.target.value)}>
            {Object.entries(COSTS).map(([id, { name }]) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      {points.length === 0 ? (
        <p className="faint">Trials appear here when they finish.</p>
      ) : (
        <ParetoChart
          points={points}
          cost={cost}
          metric={sweep.search.metric}
          winner={sweep.winner?.trial ?? null}
        />
      )}
    </section>
  );
}
