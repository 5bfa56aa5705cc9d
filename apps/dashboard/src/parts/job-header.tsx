import type { JobObject, MetricsObject } from '@graft/contracts';
import { isOver, jobName, silence, timeSpent, validationWords } from '../job-words.js';
import { linkTo } from '../navigation.js';
import { useMay } from '../own-key.js';
import { ago, count, methodName, moment, short } from '../wording.js';
import { CopyButton } from './copy-button.js';
import { Progress } from './progress.js';
import { StatePill } from './state-pill.js';

interface Props {
  readonly job: JobObject;
  readonly evaluations: MetricsObject['evaluations'];
  readonly cancel: () => void;
  readonly hold: () => void;
}

/** Name, state, what may be done with a job, and its figures. */
export function JobHeader({ job, evaluations, cancel, hold }: Props) {
  const silent = silence(job);
  const may = useMay();
  return (
    <div className="sticky">
      <div className="bar">
        <StatePill status={job.status} />
        <h1 className="name">{jobName(job)}</h1>
        {!isOver(job) && !silent && <span className="faint">{job.graft.phase.message}</span>}
        {silent && (
          <span className="silent" role="status">
            <span aria-hidden="true">⚠</span> {silent}
          </span>
        )}
        <span className="grow" />
        <span className="faint">
          {job.user_provided_suffix !== null && <code>{job.id}</code>}{' '}
          <CopyButton text={job.id} label="Copy the job's id" />
        </span>
        <span className="actions">
          {may('jobs:write') && <Actions job={job} cancel={cancel} hold={hold} />}
          {may('jobs:write', 'models:read', 'files:read') && (
            <a className="button" {...linkTo(`/new?from=${job.id}`)}>
              Clone
            </a>
          )}
        </span>
      </div>
      {job.graft.progress.total_steps !== null && <Progress job={job} />}
      <Facts facts={factsOf(job, evaluations)} />
      {job.metadata && Object.keys(job.metadata).length > 0 && (
        <section className="metadata" aria-label="Metadata">
          <span className="faint">Metadata</span>
          <Facts facts={Object.entries(job.metadata)} />
        </section>
      )}
    </div>
  );
}

function Actions({ job, cancel, hold }: Omit<Props, 'evaluations'>) {
  return (
    <>
      {job.status === 'running' && <button onClick={hold}>Pause</button>}
      {job.status === 'paused' && <button onClick={hold}>Resume</button>}
      {!isOver(job) && <button onClick={cancel}>Cancel</button>}
    </>
  );
}

function Facts({ facts }: { facts: readonly (readonly [string, string, string?])[] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value, title]) => (
        <div key={name} title={title}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function factsOf(
  job: JobObject,
  evaluations: MetricsObject['evaluations'],
): [string, string, string?][] {
  const validation = validationWords(evaluations);
  return [
    ['base', job.model],
    ['method', methodName(job.peft)],
    ['trains', trains(job)],
    ['loss, last step', short(job.graft.train_loss)],
    ...(validation === null ? [] : [['validation', validation] as [string, string]]),
    isOver(job) ? ['trained on', tokens(job)] : ['speed', speed(job)],
    ['time', timeSpent(job) ?? '–'],
    ['created', ago(job.created_at), moment(job.created_at)],
  ];
}

function trains({ graft: { trainable_parameters: some, total_parameters: all } }: JobObject) {
  if (some === null) return '–';
  return `${count(some)}${all ? ` of ${count(all)} (${short((100 * some) / all)} %)` : ''}`;
}

const tokens = (job: JobObject): string =>
  job.trained_tokens === null ? '–' : `${count(job.trained_tokens)} tokens`;

const speed = ({ graft: { progress } }: JobObject): string =>
  progress.tokens_per_second === null
    ? '–'
    : `${count(Math.round(progress.tokens_per_second))} tokens/s`;
