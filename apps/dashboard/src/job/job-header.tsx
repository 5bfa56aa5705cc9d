import type { JobObject, MetricsObject } from '@graft/contracts';
import { KIND_NOUNS, kindOf, operationTitle } from '@graft/contracts/job-kinds';
import { baseText } from '@graft/contracts/job-method';
import { forgettingText } from '@graft/contracts/sweep-text';
import type { ReactNode } from 'react';
import {
  canPause,
  isOver,
  jobName,
  queuePlace,
  silence,
  timeSpent,
  validationText,
} from './job-text.js';
import { useMay } from '../api/own-key.js';
import { ago, bytes, count, methodName, moment, short } from '../format.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Link } from '../ui/link.js';
import { ModelSize, SourceModels } from '../models/model-facts.js';
import { Progress } from '../ui/progress.js';
import { StatePill } from '../ui/state-pill.js';

interface Props {
  readonly job: JobObject;
  readonly metrics: Pick<MetricsObject, 'evaluations' | 'peak_rss_bytes'>;
  readonly cancel: () => void;
  readonly hold: () => void;
}

/** Name, state, actions and key figures of a job. */
export function JobHeader({ job, metrics, cancel, hold }: Props) {
  const silent = silence(job);
  const may = useMay();
  const { operation } = job.graft;
  return (
    <div className="sticky">
      <div className="bar">
        <StatePill status={job.status} />
        <h1 className="name">{jobName(job)}</h1>
        {operation && <span className="tag">{KIND_NOUNS[kindOf(job)]}</span>}
        {job.graft.sweep && (
          <Link to="/sweeps/$id" params={{ id: job.graft.sweep.id }}>
            trial {job.graft.sweep.trial} of a sweep
          </Link>
        )}
        {!isOver(job) && !silent && <span className="faint">{job.graft.phase.message}</span>}
        {silent && (
          <span className="silent" role="status">
            <span aria-hidden="true">⚠</span> {silent}
          </span>
        )}
        <span className="grow" />
        <span className="faint">
          {jobName(job) !== job.id && <code>{job.id}</code>}{' '}
          <CopyButton text={job.id} label="Copy job ID" />
        </span>
        <span className="actions">
          {may('jobs:write') && <Actions job={job} cancel={cancel} hold={hold} />}
          {!operation && may('jobs:write', 'models:read', 'files:read') && (
            <Link className="button" to="/new" search={{ from: job.id }}>
              Clone
            </Link>
          )}
        </span>
      </div>
      {!operation && job.graft.progress.total_steps !== null && <Progress job={job} />}
      <Facts
        facts={
          operation ? operationFacts(job, operation, metrics.peak_rss_bytes) : factsOf(job, metrics)
        }
      />
      {job.metadata && Object.keys(job.metadata).length > 0 && (
        <section className="metadata" aria-label="Metadata">
          <span className="faint">Metadata</span>
          <Facts facts={Object.entries(job.metadata)} />
        </section>
      )}
      <TagsAndNote of={job.graft} />
    </div>
  );
}

function TagsAndNote({ of: { tags, note } }: { of: Pick<JobObject['graft'], 'tags' | 'note'> }) {
  if (tags.length === 0 && note === null) return null;
  return (
    <section className="metadata" aria-label="Tags and note">
      {tags.map((tag) => (
        <span key={tag} className="tag">
          {tag}
        </span>
      ))}
      <span className="pre">{note}</span>
    </section>
  );
}

function Actions({ job, cancel, hold }: Omit<Props, 'metrics'>) {
  return (
    <>
      {job.status === 'running' && canPause(job) && <button onClick={hold}>Pause</button>}
      {job.status === 'paused' && <button onClick={hold}>Resume</button>}
      {!isOver(job) && <button onClick={cancel}>Cancel</button>}
    </>
  );
}

function Facts({ facts }: { facts: readonly Fact[] }) {
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

type Fact = readonly [name: string, value: ReactNode, title?: string];

function factsOf(job: JobObject, { evaluations, peak_rss_bytes: peak }: Props['metrics']): Fact[] {
  const validation = validationText(evaluations);
  const place = queuePlace(job);
  return [
    ...(place === null ? [] : [['place in queue', place] as [string, string]]),
    ['base', baseText(job)],
    ['method', methodName(job)],
    ['trainable', trains(job)],
    ['loss, last step', short(job.graft.train_loss)],
    ...(validation === null ? [] : [['validation', validation] as [string, string]]),
    ...scoreOf(job),
    ...forgettingOf(job),
    isOver(job) ? ['trained on', tokens(job)] : ['speed', speed(job)],
    ['time', timeSpent(job) ?? '–'],
    ...memoryOf(peak),
    createdOf(job),
  ];
}

/** Facts of an operation on adapters, which trains nothing. */
function operationFacts(
  job: JobObject,
  operation: NonNullable<JobObject['graft']['operation']>,
  peak: number | null,
): Fact[] {
  const place = queuePlace(job);
  return [
    ...(place === null ? [] : [['place in queue', place] as const]),
    ['operation', operationTitle(operation)],
    ['source', <SourceModels names={operation.adapters} />],
    ...(job.fine_tuned_model === null
      ? []
      : [['size', <ModelSize name={job.fine_tuned_model} />] as const]),
    ['time', timeSpent(job) ?? '–'],
    ...memoryOf(peak),
    createdOf(job),
  ];
}

const memoryOf = (peak: number | null): Fact[] =>
  peak === null
    ? []
    : [
        [
          'memory',
          bytes(peak),
          'Peak memory of its trainer process, including other jobs that ran in it',
        ],
      ];

const createdOf = ({ created_at: at }: JobObject): Fact => ['created', ago(at), moment(at)];

/** Change of the loss of a fixed text. */
const forgettingOf = ({ graft: { forgetting } }: JobObject): [string, string][] =>
  forgetting
    ? [
        [
          'forgetting',
          `${forgettingText(forgetting)} (${short(forgetting.base_loss)} → ${short(forgetting.loss)})`,
        ],
      ]
    : [];

/** Best eval score of a checkpoint. */
function scoreOf({ graft: { best_score: best } }: JobObject): [string, string][] {
  if (!best) return [];
  return [
    ['best eval score', `${Math.round(100 * best.eval_score)} % at step ${count(best.step)}`],
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
