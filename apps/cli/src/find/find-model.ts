import type { JobObject, ModelObject } from '@graft/contracts';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import { ApiError, type Api } from '../client/api.js';
import { CliError, EXIT } from '../cli-error.js';
import { findCheckpoint, splitCheckpoint } from './find-checkpoint.js';
import { callName, findJobIfAny } from './find-job.js';
import { GRAFT } from '../called.js';

/** Description of a model argument. */
export const MODEL_HELP = 'model, job that made it, or checkpoint (JOB@STEP, JOB@best)';

/**
 * Finds the id of a model by its id, or by its job (`JOB`, or a checkpoint as `JOB@STEP`). An id takes precedence over
 * a job of the same name.
 * @throws CliError if there is none, if several jobs match, or if the job has no model yet
 */
export async function findModel(api: Api, name: string): Promise<string> {
  if (name.startsWith('ft:') || (await isModel(api, name))) return name;
  const branch = splitCheckpoint(name);
  if (branch !== null) {
    const { checkpoint } = await findCheckpoint(api, branch.job, branch.at);
    return checkpoint.fine_tuned_model_checkpoint;
  }
  const job = await jobNamed(api, name);
  if (job === null)
    throw new CliError(
      `no model or job named ${name};${await meant(api, name)} see ${GRAFT} models and ${GRAFT} jobs`,
      EXIT.failed,
    );
  return modelOf(job);
}

/** Question that names models whose id contains the name. Empty if there are none. */
async function meant(api: Api, name: string): Promise<string> {
  const typed = name.toLowerCase();
  const similar = await api.get<{ data: readonly ModelObject[] }>('/models').then(
    ({ data }) => data.map(({ id }) => id).filter((id) => id.toLowerCase().includes(typed)),
    () => [],
  );
  return similar.length === 0 ? '' : ` did you mean ${similar.slice(0, 3).join(', ')}?`;
}

/** Finds the ids of models, in the order of their names. */
export async function findModels(api: Api, names: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const name of names) ids.push(await findModel(api, name));
  return ids;
}

async function isModel(api: Api, name: string): Promise<boolean> {
  try {
    await api.get<ModelObject>(`/models/${encodeURIComponent(name)}`);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    // For example a key that may not read models: the request that uses the model reports it.
    if (error instanceof ApiError && error.status === 403) return true;
    throw error;
  }
}

/** A key may be allowed to use models but not to list jobs. */
async function jobNamed(api: Api, name: string): Promise<JobObject | null> {
  try {
    return await findJobIfAny(api, name);
  } catch (error) {
    if (error instanceof ApiError && [403, 404].includes(error.status)) return null;
    throw error;
  }
}

function modelOf(job: JobObject): string {
  if (job.fine_tuned_model !== null) return job.fine_tuned_model;
  const name = callName(job);
  const use = `use one of its checkpoints as ${name}@STEP (${GRAFT} checkpoints ${name} lists them)`;
  throw new CliError(
    TERMINAL_STATUSES.includes(job.status)
      ? `${name} is ${job.status} and has no model; ${use}`
      : `${name} is ${job.status} and has no model yet; wait until it succeeds (${GRAFT} watch ${name}), or ${use}`,
  );
}
