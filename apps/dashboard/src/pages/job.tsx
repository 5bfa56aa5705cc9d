import type { CheckpointObject, JobObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/openai';
import { useEffect, useState } from 'react';
import { api, download } from '../api.js';
import { useKeys } from '../keyboard.js';
import { useLoaded } from '../loading.js';
import { linkTo, replace } from '../navigation.js';
import { CopyButton } from '../parts/copy-button.js';
import { EventLog } from '../parts/event-log.js';
import { Failure } from '../parts/failure.js';
import { JobCharts } from '../parts/job-charts.js';
import { Progress } from '../parts/progress.js';
import { StatePill } from '../parts/state-pill.js';
import { Row, Table } from '../parts/table.js';
import { ago, bytes, count, duration, methodName, moment, short } from '../wording.js';
import { useJob } from './job-data.js';

const TABS = ['Charts', 'Log', 'Checkpoints', 'Attempts', 'Spec'] as const;
type Tab = (typeof TABS)[number];

const isOver = (job: JobObject): boolean => TERMINAL_STATUSES.includes(job.status);

function pageTitle(job: JobObject | undefined): string {
  if (!job) return 'Graft';
  const { step, total_steps: total } = job.graft.progress;
  const done = job.status === 'running' && total ? `${Math.round((100 * step) / total)} % ` : '';
  return `${done}${job.user_provided_suffix ?? job.id} · ${job.status} · Graft`;
}

export function JobPage({ id, tab }: { id: string; tab: string | null }) {
  const { data, error, connected, setJob } = useJob(id);
  const [problem, setProblem] = useState<Error | null>(null);
  const job = data?.job;

  useEffect(() => {
    document.title = pageTitle(job);
    return () => void (document.title = 'Graft');
  }, [job]);

  const act = (action: () => Promise<JobObject>) => action().then(setJob, setProblem);
  const cancel = () =>
    confirm('Cancel this job? Its saved checkpoints stay.') && void act(() => api.cancel(id));
  const setTab = (name: Tab) => replace(`/jobs/${id}?tab=${name.toLowerCase()}`);
  const hold = () => {
    if (job?.status === 'running') void act(() => api.pause(id));
    if (job?.status === 'paused') void act(() => api.resume(id));
  };
  useKeys({ c: () => job && !isOver(job) && cancel(), p: hold, f: () => setTab('Log') });

  if (!data || !job)
    return <main>{error ? <Failure error={error} /> : <p className="faint">Loading…</p>}</main>;
  const asked = TABS.find((name) => name.toLowerCase() === tab);
  const open = asked ?? (job.status === 'failed' ? 'Log' : 'Charts');
  return (
    <main>
      <JobHeader job={job} cancel={cancel} act={act} />
      {!connected && !isOver(job) && (
        <p className="notice" role="status">
          The live connection is lost; trying again. What you see may be old.
        </p>
      )}
      {job.status === 'queued' && <NobodyThere pool={job.graft.pool} />}
      <Failure error={problem ?? error} />
      {job.error && (
        <p className="notice bad" role="alert">
          <b>{job.error.code}</b> {job.error.param && <code>{job.error.param}</code>}{' '}
          <span className="pre">{job.error.message}</span>
        </p>
      )}
      {job.status === 'succeeded' && <Results job={job} onError={setProblem} />}
      <div role="tablist" className="tabs">
        {TABS.map((name) => (
          <button key={name} role="tab" aria-selected={name === open} onClick={() => setTab(name)}>
            {name}
            {name === 'Checkpoints' && data.checkpoints.length > 0 && (
              <span className="faint"> {data.checkpoints.length}</span>
            )}
          </button>
        ))}
      </div>
      <div role="tabpanel" aria-label={open}>
        {open === 'Charts' && <JobCharts metrics={data.metrics} over={isOver(job)} />}
        {open === 'Log' && <EventLog events={data.log} />}
        {open === 'Checkpoints' && <Checkpoints rows={data.checkpoints} />}
        {open === 'Attempts' && <Attempts job={job} />}
        {open === 'Spec' && <SpecView job={job} />}
      </div>
    </main>
  );
}

/** Says that a queued job waits for a worker that is not there. */
function NobodyThere({ pool }: { pool: string }) {
  const workers = useLoaded(async () => (await api.workers()).data, 5000);
  if (workers.value?.some((one) => one.pool === pool && one.state === 'online') ?? true)
    return null;
  return (
    <p className="notice" role="status">
      No worker of pool {pool} is online: the job waits until one joins.{' '}
      <a {...linkTo('/workers')}>See the workers</a>.
    </p>
  );
}

function factsOf(job: JobObject): [string, string][] {
  const {
    progress,
    started_at: started,
    trainable_parameters: trainable,
    total_parameters: total,
  } = job.graft;
  const end = isOver(job) ? job.finished_at : Date.now() / 1000;
  return [
    ['base', job.model],
    ['method', methodName(job.peft)],
    [
      'trains',
      trainable === null
        ? '–'
        : `${count(trainable)}${total ? ` of ${count(total)} (${short((100 * trainable) / total)} %)` : ''}`,
    ],
    [
      'loss',
      `${short(job.graft.train_loss)}${job.graft.valid_loss !== null ? ` · held-out ${short(job.graft.valid_loss)}` : ''}`,
    ],
    isOver(job)
      ? ['trained on', job.trained_tokens === null ? '–' : `${count(job.trained_tokens)} tokens`]
      : [
          'speed',
          progress.tokens_per_second === null
            ? '–'
            : `${count(Math.round(progress.tokens_per_second))} tokens/s`,
        ],
    [
      isOver(job) ? 'took' : 'elapsed',
      started === null || end === null ? '–' : duration(end - started),
    ],
    ['created', ago(job.created_at)],
    ...Object.entries(job.metadata ?? {}),
  ];
}

function JobHeader({
  job,
  cancel,
  act,
}: {
  job: JobObject;
  cancel: () => void;
  act: (action: () => Promise<JobObject>) => void;
}) {
  return (
    <div className="sticky">
      <div className="bar">
        <StatePill status={job.status} />
        <h1 className="name">{job.user_provided_suffix ?? job.id}</h1>
        {!isOver(job) && <span className="faint">{job.graft.phase.message}</span>}
        <span className="grow" />
        <span className="faint">
          <code>{job.id}</code> <CopyButton text={job.id} label="Copy the job's id" />
        </span>
        {job.status === 'running' && (
          <button onClick={() => act(() => api.pause(job.id))}>Pause</button>
        )}
        {job.status === 'paused' && (
          <button onClick={() => act(() => api.resume(job.id))}>Resume</button>
        )}
        {!isOver(job) && <button onClick={cancel}>Cancel</button>}
        <a className="button" {...linkTo(`/new?from=${job.id}`)}>
          Clone
        </a>
      </div>
      {job.graft.progress.total_steps !== null && <Progress job={job} />}
      <dl className="facts">
        {factsOf(job).map(([name, value]) => (
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
  return (
    <section className="card good" aria-label="Result">
      <div className="bar">
        <b>{job.fine_tuned_model}</b>
        <span className="grow" />
        {job.fine_tuned_model && (
          <a
            className="button main"
            {...linkTo(`/chat?model=${encodeURIComponent(job.fine_tuned_model)}`)}
          >
            Talk to it
          </a>
        )}
      </div>
      <Failure error={files.error} />
      <div className="bar">
        {(files.value ?? []).map((file) => (
          <button key={file.id} onClick={() => download(file.id, file.filename).catch(onError)}>
            <span aria-hidden="true">↓</span> {file.filename}{' '}
            <span className="faint">{bytes(file.bytes)}</span>
          </button>
        ))}
      </div>
    </section>
  );
}

function Checkpoints({ rows }: { rows: readonly CheckpointObject[] }) {
  if (rows.length === 0) return <p className="faint">None saved yet.</p>;
  return (
    <Table columns={['Step', 'Model', 'Loss', 'Held-out', 'Saved', '']}>
      {rows.map((row) => (
        <Row key={row.id}>
          <td>{row.step_number}</td>
          <td>
            <code>{row.fine_tuned_model_checkpoint}</code>
          </td>
          <td className="numbers">{short(row.metrics['train_loss'])}</td>
          <td className="numbers">{short(row.metrics['valid_loss'])}</td>
          <td title={moment(row.created_at)}>{ago(row.created_at)}</td>
          <td>
            <a
              className="button"
              {...linkTo(`/chat?model=${encodeURIComponent(row.fine_tuned_model_checkpoint)}`)}
            >
              Talk
            </a>
          </td>
        </Row>
      ))}
    </Table>
  );
}

function Attempts({ job }: { job: JobObject }) {
  if (job.graft.attempts.length === 0) return <p className="faint">No worker has taken it yet.</p>;
  return (
    <Table columns={['Attempt', 'Worker', 'From step', 'Started', 'Lasted', 'Outcome']}>
      {job.graft.attempts.map(
        ({ epoch, worker, from_step, started_at: from, ended_at: to, outcome }, i) => (
          <Row key={epoch} title={`epoch ${epoch}`}>
            <td>{i + 1}</td>
            <td>{worker ?? '–'}</td>
            <td>{from_step}</td>
            <td>{from === null ? '–' : moment(from)}</td>
            <td>{from === null ? '–' : duration((to ?? Date.now() / 1000) - from)}</td>
            <td>{outcome ?? 'running'}</td>
          </Row>
        ),
      )}
    </Table>
  );
}

/** Fields of a job's `graft` that say how it goes, not how it was asked for. */
const STATE = [
  'phase',
  'progress',
  'attempts',
  'started_at',
  'trainable_parameters',
  'total_parameters',
  'train_loss',
  'valid_loss',
  'sparkline',
];

/** The create call that would make this job again. */
export function createBody(job: JobObject): Record<string, unknown> {
  const asked = Object.entries(job.graft).filter(
    ([name, value]) => !STATE.includes(name) && value !== null,
  );
  return {
    model: job.model,
    training_file: job.training_file,
    ...(job.validation_file && { validation_file: job.validation_file }),
    ...(job.user_provided_suffix && { suffix: job.user_provided_suffix }),
    seed: job.seed,
    method: job.method,
    peft: job.peft,
    graft: Object.fromEntries(asked),
    ...(job.metadata && { metadata: job.metadata }),
  };
}

function SpecView({ job }: { job: JobObject }) {
  const text = JSON.stringify(createBody(job), null, 2);
  return (
    <>
      <p className="bar">
        <CopyButton text={text} label="Copy the body" />
        <span className="faint">
          The body of POST /v1/fine_tuning/jobs that makes this job again.
        </span>
      </p>
      <pre className="spec">{text}</pre>
    </>
  );
}
