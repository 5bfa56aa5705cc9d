// The job that continues a run on the corrected file.
import type { FileRevisionObject, JobObject } from '@graft/contracts';
import { createBody } from '@graft/contracts/compared-jobs';

type Body = Record<string, unknown>;

/** Keys of a job's metadata that name the job whose rows it fixes. */
export const FIXES_JOB = 'fixes_job';
export const FIXED_ROWS = 'fixed_rows';
export const FIXED_HELD_OUT = 'fixed_held_out';

/** Options that the adapter or the new files determine. */
const LEFT_OUT = ['validation_split', 'stratify_by_column', 'split_seed', 'init_adapter'];

/**
 * Returns the request for a job that starts from a model of another job and trains one epoch on the
 * revised file. Its method is that of the model.
 * @param options names of the options that a request may set under `graft`
 */
export function retrainBody(
  job: JobObject,
  revision: FileRevisionObject,
  model: string,
  options: readonly string[],
): Body {
  const { peft: _, graft, method, ...body } = createBody(job, options);
  const kept = Object.entries(graft as Body).filter(([name]) => !LEFT_OUT.includes(name));
  const validation = revision.validation_file?.id ?? job.validation_file;
  return {
    ...body,
    training_file: revision.id,
    ...(validation && { validation_file: validation }),
    method: withOneEpoch(method as Method),
    graft: { ...Object.fromEntries(kept), init_adapter: model },
    metadata: {
      ...job.metadata,
      [FIXES_JOB]: job.id,
      [FIXED_ROWS]: String(revision.changed + revision.removed),
      [FIXED_HELD_OUT]: String(revision.held_out_revised),
    },
  };
}

type Method = ({ readonly type: string } & Body) | null;

function withOneEpoch(method: Method): Method {
  if (!method) return null;
  const own = method[method.type] as Body;
  const hyperparameters = { ...(own['hyperparameters'] as Body), n_epochs: 1 };
  return { ...method, [method.type]: { ...own, hyperparameters } };
}
