import type { JobObject } from '@graft/contracts';
import { baseText } from '@graft/contracts/job-method';
import { Sparkline } from '../charts/sparkline.js';
import { ago, count, methodName, moment, short } from '../format.js';
import { jobName, timeSpent } from '../job/job-text.js';
import { Callout } from '../ui/feedback/callout.js';
import { ButtonLink } from '../ui/controls/button.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { Stat, Stats } from '../ui/stat.js';
import { StatePill } from '../ui/state-pill.js';
import { progressOf, resultOf, waitText } from './job-words.js';

interface Props {
  readonly job: JobObject;
  readonly close: () => void;
}

/** The most important facts of a job, in a drawer next to the list. */
export function PeekJob({ job, close }: Props) {
  const { graft, status, error } = job;
  return (
    <Drawer
      title={jobName(job)}
      close={close}
      actions={
        <ButtonLink to="/jobs/$id" params={{ id: job.id }} size="s">
          Open
        </ButtonLink>
      }
    >
      <p>
        <StatePill status={status} />{' '}
        {status === 'queued' && <span className="faint">{waitText(job)}</span>}
      </p>
      {error && (
        <Callout tone="error" title="The job failed">
          {error.message}
        </Callout>
      )}
      <Numbers job={job} />
      {graft.sparkline.length > 1 && (
        <>
          <h3>Training loss</h3>
          <Sparkline values={graft.sparkline} width={500} height={120} />
        </>
      )}
      <Facts job={job} />
      {graft.note && (
        <>
          <h3>Note</h3>
          <p className="pre">{graft.note}</p>
        </>
      )}
    </Drawer>
  );
}

function Numbers({ job }: { job: JobObject }) {
  const { graft } = job;
  const result = resultOf(job);
  const now = progressOf(job);
  if (!result && !now) return null;
  return (
    <Stats label="Result">
      {result && <Stat label={result.name} value={result.value} title={result.title} />}
      {now && <Stat label="progress" value={now.percent} note={now.left ?? undefined} />}
      {graft.train_loss !== null && result?.name !== 'train loss' && (
        <Stat label="training loss" value={short(graft.train_loss)} />
      )}
      {graft.progress.tokens_per_second !== null && (
        <Stat label="tokens per second" value={short(graft.progress.tokens_per_second)} />
      )}
    </Stats>
  );
}

function Facts({ job }: { job: JobObject }) {
  const { graft, trained_tokens: tokens } = job;
  const facts: readonly (readonly [name: string, value: React.ReactNode])[] = [
    ['Base', baseText(job)],
    ['Method', methodName(job)],
    ['Pool', graft.pool],
    ['Tokens', tokens === null ? null : count(tokens)],
    ['Created', <span title={moment(job.created_at)}>{ago(job.created_at)}</span>],
    ['Time', timeSpent(job)],
    ['Tags', graft.tags.join(', ') || null],
    [
      'ID',
      <>
        <code className="break">{job.id}</code> <CopyButton text={job.id} label="Copy ID" />
      </>,
    ],
  ];
  return (
    <dl className="peek-facts">
      {facts.map(([name, value]) =>
        value === null ? null : (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ),
      )}
    </dl>
  );
}
