import type { JobObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { operationTitle } from '@graft/contracts/job-kinds';
import { lossText } from '@graft/contracts/loss-text';
import { validationExamples } from '@graft/contracts/validation';
import { CliError, EXIT } from '../cli-error.js';
import type { Api } from '../client/api.js';
import { bestAccuracy } from './job-card.js';
import { followJob, isOver } from './job-progress.js';
import { warning } from './style.js';
import { printable, type Output } from './terminal.js';
import { untilInterrupted } from './until-interrupted.js';
import { GRAFT } from '../called.js';

/** Follows a job to its end and prints the outcome. @throws CliError if it did not succeed */
export async function watchToEnd(api: Api, id: string, out: Output): Promise<void> {
  const job = await succeeded(api, id, out);
  if (out.json) out.value(job);
  else out.line(ending(job));
}

/** Follows a job to its end. @throws CliError if it did not succeed */
export async function succeeded(api: Api, id: string, out: Output): Promise<JobObject> {
  const job = await untilInterrupted((signal) => followJob(api, id, out, signal));
  if (!isOver(job))
    throw new CliError(
      `stopped watching; the job continues (${GRAFT} watch ${job.id}, ${GRAFT} cancel ${job.id})`,
      EXIT.interrupted,
    );
  if (out.json && job.status !== 'succeeded') out.value(job);
  const at = atStep(job);
  if (job.status === 'failed')
    throw new CliError(
      `${job.id} failed${at}: ${printable(job.error?.message ?? 'no reason given')}`,
    );
  if (job.status === 'cancelled') throw new CliError(`${job.id} was cancelled${at}`);
  return job;
}

/** Suffix with the step. Empty for an adapter operation, which has no steps. */
const atStep = ({ graft: { operation, progress } }: JobObject): string =>
  operation ? '' : ` at step ${progress.step}`;

/** Summary of a job that has ended. */
export function ending(job: JobObject): string {
  const { operation, progress, train_loss, valid_loss, best, training_seconds, warnings } =
    job.graft;
  if (job.status !== 'succeeded') return `${job.id} ${job.status}${atStep(job)}`;
  const waited = (job.finished_at ?? 0) - job.created_at - training_seconds;
  const took = ` in ${duration(training_seconds)}${waited < 10 ? '' : ` (+${duration(waited)} waiting)`}`;
  const loss = train_loss === null ? '' : `, loss ${lossText(train_loss)}`;
  const isUnvalidated = valid_loss === null && job.training_file !== null;
  const examples = validationExamples(job);
  const on = examples === null ? '' : ` on ${examples}`;
  const valid = valid_loss === null ? '' : `, validation ${lossText(valid_loss)}${on}`;
  const accuracy = bestAccuracy(job);
  const lowest =
    best === null || best.valid_loss === valid_loss
      ? ''
      : ` (lowest ${lossText(best.valid_loss)} at step ${best.step})`;
  const made = operation
    ? operationTitle(operation)
    : `${progress.step} steps${loss}${valid}${lowest}${isUnvalidated ? ', not validated' : ''}`;
  return [
    `${job.id} succeeded${took}: ${made}`,
    ...(accuracy === null ? [] : [accuracy]),
    ...warnings.map(({ message }) => warning(`warning: ${printable(message)}`)),
    `Model: ${job.fine_tuned_model}`,
  ].join('\n');
}
