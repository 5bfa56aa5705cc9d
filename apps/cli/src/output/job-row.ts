import type { JobObject, JobWarning } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { baseText, methodTitle } from '@graft/contracts/job-method';
import { lossText } from '@graft/contracts/loss-text';
import { ownName } from '../find/find-job.js';
import { state, warning } from './style.js';
import { ago, printable } from './terminal.js';

/** Columns of `graft jobs`. */
export const jobHeader = (tagged: boolean): string[] => [
  'JOB',
  'NAME',
  ...(tagged ? ['TAGS'] : []),
  'STATE',
  'METHOD',
  'BASE',
  'RESULT',
  'TOOK',
  'AGE',
];

/** Whether a list marks a job with the warning. The task that was chosen for a table is only information. */
const needsAttention = ({ code }: JobWarning): boolean => code !== 'task_of_file';

/**
 * Row of a job.
 * @param id id to show
 */
export function jobRow(job: JobObject, id: string, tagged: boolean): string[] {
  const { warnings, tags, training_seconds: seconds } = job.graft;
  return [
    id,
    printable(ownName(job)),
    ...(tagged ? [printable(tags.join(', '))] : []),
    state(job.status) + (warnings.some(needsAttention) ? warning(' !') : ''),
    methodTitle(job),
    printable(baseText(job)),
    resultText(job),
    seconds > 0 ? duration(seconds) : '',
    ago(job.created_at),
  ];
}

/** Reason of a failure, for the line below the row. Null for other jobs. */
export const jobReason = ({ status, error }: JobObject): string | null =>
  status === 'failed' ? printable(error?.message ?? 'no reason given') : null;

/** Result so far: position in the queue, step and loss, or the figure that the task is judged by. */
export function resultText(job: JobObject): string {
  const { operation, progress, queue_position: position, queue_length: length } = job.graft;
  if (operation) return '';
  if (job.status === 'succeeded') return outcomeText(job);
  if (progress.step === 0) return position && length ? `${position} of ${length} in queue` : '';
  const steps = `${progress.step}/${progress.total_steps ?? '?'}`;
  const loss = job.graft.train_loss;
  return loss === null ? steps : `${steps}, loss ${lossText(loss)}`;
}

function outcomeText({ graft }: JobObject): string {
  const { best, best_score: score, valid_loss, train_loss } = graft;
  if (score) return `score ${percent(score.eval_score)}`;
  if (typeof best?.accuracy === 'number') return `accuracy ${percent(best.accuracy)}`;
  const valid = best?.valid_loss ?? valid_loss;
  if (valid !== null) return `validation ${lossText(valid)}`;
  return train_loss === null ? '' : `loss ${lossText(train_loss)}`;
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
