import type { CheckpointObject, JobObject, Page } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { CliError } from '../cli-error.js';
import { callName, findJob, jobPath } from './find-job.js';

/** Checkpoint of a job, as `JOB@STEP`, `JOB@best` or `JOB@last`. */
const AT = /^(.+)@(\d{1,9}|best|last)$/;

/** Splits `JOB@STEP`. Null if the text has another form. */
export function splitCheckpoint(text: string): { job: string; at: string } | null {
  const [, job, at] = AT.exec(text) ?? [];
  return job === undefined || at === undefined ? null : { job, at };
}

export interface JobCheckpoint {
  readonly job: JobObject;
  readonly checkpoint: CheckpointObject;
}

/**
 * Finds a checkpoint that can be used as a model.
 * @param at a step, `best` or `last`
 * @throws CliError if there is none
 */
export async function findCheckpoint(api: Api, name: string, at: string): Promise<JobCheckpoint> {
  const job = await findJob(api, name);
  const checkpoint = chosen(job, await checkpointsOf(api, job.id), at);
  if (checkpoint.graft.usable) return { job, checkpoint };
  throw new CliError(
    `the checkpoint of ${callName(job)} at step ${checkpoint.step_number} can only resume its own job: it has no adapter to start from; choose another step`,
  );
}

function chosen(job: JobObject, checkpoints: readonly CheckpointObject[], at: string) {
  const found =
    at === 'best'
      ? checkpoints.find(({ graft }) => graft.best)
      : at === 'last'
        ? checkpoints[0]
        : checkpointAt(job, checkpoints, Number(at));
  if (found) return found;
  throw new CliError(
    at === 'best'
      ? `${callName(job)} has no best checkpoint, because none was evaluated; name a step`
      : `${callName(job)} has no checkpoint yet`,
  );
}

export const checkpointsOf = async (
  api: Api,
  jobId: string,
): Promise<readonly CheckpointObject[]> =>
  (await api.get<Page<CheckpointObject>>(`${jobPath(jobId)}/checkpoints?limit=100`)).data;

/** The checkpoint at this step. @throws CliError with the available steps if there is none */
export function checkpointAt(
  job: JobObject,
  checkpoints: readonly CheckpointObject[],
  step: number,
): CheckpointObject {
  const checkpoint = checkpoints.find(({ step_number }) => step_number === step);
  if (checkpoint) return checkpoint;
  const steps = checkpoints.map(({ step_number }) => step_number).toReversed();
  throw new CliError(
    `${callName(job)} has no checkpoint at step ${step}; available steps: ${steps.length > 0 ? steps.join(', ') : 'none'}`,
  );
}
