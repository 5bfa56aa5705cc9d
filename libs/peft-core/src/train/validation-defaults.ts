// The defaults of the validation split and of eval_steps. They are resolved once, when the job is created,
// and stored in its Spec, so resumed runs and clones keep them.
import {
  DomainError,
  HELD_OUT,
  HELD_OUT_FROM,
  SPLIT_SEED,
  type CreateJob,
  type Spec,
} from '@graft/contracts';
import type { Task } from '../tasks/task.js';
import { stepsPerEpoch, totalSteps, type Pace } from './cursor.js';

export interface HeldOutFacts {
  /** Number of records in the training file. */
  readonly trainingRecords: number;
  /** Whether the job starts from an adapter, which may have been trained on any of the records. */
  readonly warmStart?: boolean;
  /** Whether the base is the result of another job, which may have been trained on any of the records. */
  readonly fineTuned?: boolean;
}

/** Whether part of the training file is held out by default: the request does not specify validation data, the
 * file has at least HELD_OUT_FROM records, and no initial adapter or base may have been trained on them. */
export const holdsOutByDefault = (
  { validation_file: file, graft }: CreateJob,
  { trainingRecords, warmStart = false, fineTuned = false }: HeldOutFacts,
): boolean =>
  !file &&
  graft?.validation_split === undefined &&
  !warmStart &&
  !fineTuned &&
  trainingRecords >= HELD_OUT_FROM;

const withGraft = (body: CreateJob, graft: CreateJob['graft']): CreateJob => ({
  ...body,
  graft: { ...body.graft, ...graft },
});

/** Returns the request with validation disabled. */
export const withoutHeldOut = (body: CreateJob): CreateJob =>
  withGraft(body, { validation_split: null });

/** Returns the request with the default validation split, if it applies. */
export const withHeldOut = (body: CreateJob, facts: HeldOutFacts): CreateJob =>
  holdsOutByDefault(body, facts) ? withGraft(body, { validation_split: HELD_OUT }) : body;

/**
 * Returns the request with an evaluation at the end of each epoch, if it has validation data and does not set
 * eval_steps. The evaluation of the last epoch is the one at the end of the run.
 */
export function withEvaluations(body: CreateJob, pace: Pace, examples: number): CreateJob {
  const { validation_file: file, graft } = body;
  if (graft?.eval_steps !== undefined || (!file && !graft?.validation_split)) return body;
  const every = stepsPerEpoch(pace, examples);
  if (totalSteps(pace, examples) <= every) return body;
  return withGraft(body, { eval_steps: every });
}

/**
 * The column by which the held-out records are stratified, if any.
 * @throws DomainError if it is requested and the task's records do not have one label each
 */
export function stratifiedBy({ graft }: CreateJob, task: Task): Pick<Spec, 'stratify_by_column'> {
  const { stratify_by_column: asked, validation_split: share, task_options: options } = graft ?? {};
  if (asked && !task.labelled) {
    const message = `records of task ${task.name} do not have one label each; remove it`;
    throw new DomainError('invalid_value', message, 'graft.stratify_by_column');
  }
  const isStratified = share && asked !== null && task.labelled && hasOneLabel(options);
  return isStratified ? { stratify_by_column: 'label' } : {};
}

/**
 * The seed of the split. It is not the job's `seed`, so jobs that differ in `seed` are evaluated on the same
 * records.
 */
export function splitSeed({ graft }: CreateJob): Pick<Spec, 'split_seed'> {
  const { split_seed: asked = SPLIT_SEED, validation_split: share } = graft ?? {};
  return share && asked !== null ? { split_seed: asked } : {};
}

/** Whether each record has one label, according to the `problem_type` in the task's options. */
export const hasOneLabel = (options: Spec['task_options'] | undefined): boolean => {
  const problem = options?.['problem_type'] ?? null;
  return problem === null || problem === 'single_label_classification';
};
