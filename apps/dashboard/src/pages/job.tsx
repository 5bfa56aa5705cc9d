import type { CheckpointObject, JobEventObject, JobObject, MetricsObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/openai';
import { useEffect, useState } from 'react';
import { api, download } from '../api.js';
import { useKeys } from '../keyboard.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { Chart } from '../parts/chart.js';
import { EventLog } from '../parts/event-log.js';
import { Failure } from '../parts/failure.js';
import { Progress } from '../parts/progress.js';
import { StatePill } from '../parts/state-pill.js';
import { follow, type ServerEvent } from '../sse.js';
import { ago, count, methodName, moment, short } from '../wording.js';

const TABS = ['Charts', 'Log', 'Checkpoints', 'Attempts', 'Spec'] as const;
type Tab = (typeof TABS)[number];

interface MetricPoint {
  readonly step: number;
  readonly [series: string]: number | null;
}

/** Adds a live point; a step seen before (replayed by a later attempt) is replaced. */
export function withPoint(metrics: MetricsObject, point: MetricPoint): MetricsObject {
  const cut = metrics.steps.findLastIndex((step) => step < point.step) + 1;
  const series = Object.fromEntries(
    Object.entries(metrics.series).map(([name, values]) => [name, [...values.slice(0, cut), point[name] ?? null]]),
  );
  return { ...metrics, steps: [...metrics.steps.slice(0, cut), point.step], series };
}

export function JobPage({ id }: { id: string }) {
  const job = useLoaded(() => api.job(id));
  const metrics = useLoaded(() => api.metrics(id));
  const events = useLoaded(async () => [...(await api.events(id)).data] as JobEventObject[]);
  const checkpoints = useLoaded(async () => (await api.checkpoints(id)).data as CheckpointObject[]);
  const [connected, setConnected] = useState(true);
  const [tab, setTab] = useState<Tab | null>(null);
  const [problem, setProblem] = useState<Error | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    const event = ({ kind, data }: ServerEvent) => {
      const value: unknown = JSON.parse(data);
      if (kind === 'job') job.set(() => value as JobObject);
      if (kind === 'metrics') metrics.set((now) => withPoint(now, value as MetricPoint));
      if (kind === 'event') {
        const fresh = value as JobEventObject;
        events.set((now) => (now.some((old) => old.id === fresh.id) ? now : [fresh, ...now]));
        if (/saved|checkpoint|evaluat|valid/i.test(fresh.message)) {
          checkpoints.reload();
          metrics.reload();
        }
      }
      if (kind === 'reset') for (const part of [job, metrics, events, checkpoints]) part.reload();
    };
    void follow(`/fine_tuning/jobs/${encodeURIComponent(id)}/stream`, { event, connected: setConnected }, stop.signal);
    return () => stop.abort();
    // The setters are stable; the stream belongs to the job alone.
  }, [id]);

  useEffect(() => {
    const done = job.value && job.value.graft.progress.total_steps ? Math.round((100 * job.value.graft.progress.step) / job.value.graft.progress.total_steps) : null;
    document.title = job.value ? `${job.value.status === 'running' && done !== null ? `${done} % ` : ''}${job.value.user_provided_suffix ?? job.value.id} · Graft` : 'Graft';
    return () => void (document.title = 'Graft');
  }, [job.value]);

  const act = (action: () => Promise<JobObject>) => action().then((changed) => job.set(() => changed), setProblem);
  const cancel = () => confirm('Cancel this job? Its saved checkpoints stay.') && void act(() => api.cancel(id));
  useKeys({ c: () => job.value && !TERMINAL_STATUSES.includes(job.value.status) && cancel(), f: () => setTab('Log') });

  if (!job.value) return <main>{job.error ? <Failure error={job.error} /> : <p className="faint">Loading…</p>}</main>;
  const open = tab ?? (job.value.status === 'failed' ? 'Log' : 'Charts');
  return (
    <main>
      <JobHeader job={job.value} cancel={cancel} act={act} />
      {!connected && !TERMINAL_STATUSES.includes(job.value.status) && <p className="notice">The live connection is lost; trying again.</p>}
      <Failure error={problem} />
      {job.value.error && (
        <p className="notice bad" role="alert">
          <b>{job.value.error.code}</b> {job.value.error.param && <code>{job.value.error.param}</code>} <span className="pre">{job.value.error.message}</span>
        </p>
      )}
      <Results job={job.value} onError={setProblem} />
      <div role="tablist" className="tabs">
        {TABS.map((name) => (
          <button key={name} role="tab" aria-selected={name === open} onClick={() => setTab(name)}>
            {name}
          </button>
        ))}
      </div>
      {open === 'Charts' && <Charts metrics={metrics.value} />}
      {open === 'Log' && <EventLog events={events.value ?? []} />}
      {open === 'Checkpoints' && <Checkpoints rows={checkpoints.value ?? []} />}
      {open === 'Attempts' && <Attempts job={job.value} />}
      {open === 'Spec' && <SpecView job={job.value} />}
    </main>
  );
}

function JobHeader({ job, cancel, act }: { job: JobObject; cancel: () => void; act: (action: () => Promise<JobObject>) => void }) {
  const { progress, phase, trainable_parameters: trainable, total_parameters: total } = job.graft;
  const facts: [string, string][] = [
    ['base', job.model],
    ['method', methodName(job.peft)],
    ['trains', trainable === null ? '–' : `${count(trainable)}${total ? ` of ${count(total)} (${((100 * trainable) / total).toFixed(2)} %)` : ''}`],
    ['loss', `${short(job.graft.train_loss)}${job.graft.valid_loss !== null ? ` · held-out ${short(job.graft.valid_loss)}` : ''}`],
    ['speed', progress.tokens_per_second === null ? '–' : `${count(Math.round(progress.tokens_per_second))} tokens/s`],
    ['created', ago(job.created_at)],
  ];
  const ended = TERMINAL_STATUSES.includes(job.status);
  return (
    <div className="sticky">
      <p className="bar">
        <StatePill status={job.status} />
        <b className="one-line">{job.user_provided_suffix ?? job.id}</b>
        <span className="faint">{ended ? job.id : phase.message}</span>
        <span className="grow" />
        {job.status === 'running' && <button onClick={() => act(() => api.pause(job.id))}>Pause</button>}
        {job.status === 'paused' && <button onClick={() => act(() => api.resume(job.id))}>Resume</button>}
        {!ended && <button onClick={cancel}>Cancel</button>}
        <a className="button" {...linkTo(`/new?from=${job.id}`)}>
          Clone
        </a>
      </p>
      <Progress job={job} />
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Results({ job, onError }: { job: JobObject; onError: (error: Error) => void }) {
  const files = useLoaded(() => Promise.all(job.result_files.map((file) => api.file(file))));
  const { reload } = files;
  useEffect(reload, [job.result_files.length, reload]);
  if (job.status !== 'succeeded') return null;
  return (
    <div className="card good">
      <p className="bar">
        <b>{job.fine_tuned_model}</b>
        <span className="grow" />
        {job.fine_tuned_model && (
          <a className="button main" {...linkTo(`/chat?model=${encodeURIComponent(job.fine_tuned_model)}`)}>
            Talk to it
          </a>
        )}
      </p>
      <p className="bar">
        {(files.value ?? []).map((file) => (
          <button key={file.id} onClick={() => download(file.id, file.filename).catch(onError)}>
            ⭳ {file.filename}
          </button>
        ))}
      </p>
    </div>
  );
}

function Charts({ metrics }: { metrics: MetricsObject | null }) {
  if (!metrics) return <p className="faint">Loading…</p>;
  if (metrics.steps.length === 0) return <p className="faint">The first step has not been taken yet.</p>;
  const { steps, series, marks, evaluations } = metrics;
  const at = new Map(evaluations.map((e) => [e.step, e.loss]));
  const held = evaluations.length > 0 ? [{ label: 'held-out', values: steps.map((s) => at.get(s) ?? null), color: '#d97706', dots: true }] : [];
  const column = (name: string) => series[name] ?? [];
  return (
    <div className="charts">
      <Chart title="Loss" steps={steps} marks={marks} series={[{ label: 'loss', values: column('loss'), color: '#2f7d4f', smooth: true }, ...held]} />
      <Chart title="Learning rate" steps={steps} marks={marks} series={[{ label: 'learning rate', values: column('learning_rate'), color: '#2563eb' }]} />
      <Chart title="Throughput, tokens/s" steps={steps} marks={marks} series={[{ label: 'tokens/s', values: column('tokens_per_second'), color: '#9333ea', smooth: true }]} />
      <Chart title="Gradient norm" steps={steps} marks={marks} series={[{ label: 'norm', values: column('grad_norm'), color: '#0e7490', smooth: true }]} />
    </div>
  );
}

function Checkpoints({ rows }: { rows: readonly CheckpointObject[] }) {
  if (rows.length === 0) return <p className="faint">None saved yet.</p>;
  return (
    <table>
      <thead>
        <tr>
          <th>Step</th>
          <th>Model</th>
          <th>Loss</th>
          <th>Saved</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id}>
            <td>{row.step_number}</td>
            <td>{row.fine_tuned_model_checkpoint}</td>
            <td className="numbers">{short(row.metrics['train_loss'])}</td>
            <td>{moment(row.created_at)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Attempts({ job }: { job: JobObject }) {
  if (job.graft.attempts.length === 0) return <p className="faint">No worker has taken it yet.</p>;
  return (
    <table>
      <thead>
        <tr>
          <th>Attempt</th>
          <th>Worker</th>
          <th>From step</th>
          <th>Started</th>
          <th>Outcome</th>
        </tr>
      </thead>
      <tbody>
        {job.graft.attempts.map((attempt) => (
          <tr key={attempt.epoch}>
            <td>{attempt.epoch}</td>
            <td>{attempt.worker ?? '–'}</td>
            <td>{attempt.from_step}</td>
            <td>{attempt.started_at === null ? '–' : moment(attempt.started_at)}</td>
            <td>{attempt.outcome ?? 'running'}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The create call that would make this job again. */
export function createBody(job: JobObject): Record<string, unknown> {
  const { phase: _p, progress: _q, attempts: _a, started_at: _s, trainable_parameters: _t, total_parameters: _o, train_loss: _l, valid_loss: _v, sparkline: _k, ...graft } = job.graft;
  return {
    model: job.model,
    training_file: job.training_file,
    ...(job.validation_file && { validation_file: job.validation_file }),
    ...(job.user_provided_suffix && { suffix: job.user_provided_suffix }),
    seed: job.seed,
    method: job.method,
    peft: job.peft,
    graft,
    ...(job.metadata && { metadata: job.metadata }),
  };
}

function SpecView({ job }: { job: JobObject }) {
  const text = JSON.stringify(createBody(job), null, 2);
  return (
    <>
      <p>
        <button onClick={() => void navigator.clipboard.writeText(text)}>Copy</button>
      </p>
      <pre className="spec">{text}</pre>
    </>
  );
}
