// The defaults of the validation split and of eval_steps. They are resolved once, when the job is created, and stored in
// its Spec, so resumed runs and clones keep them.
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
  /** Of the training file. */
  readonly trainingRecords: number;
  /** Whether the job begins from an adapter, which may have learnt any of them. */
  readonly begun?: boolean;
  /** Whether another job made its base, which may have learnt any of them, too. */
  readonly fineTuned?: boolean;
}

/** Whether part of the training file is held out although the request does not say so. */
export const holdsOutByDefault = (
  { validation_file: file, graft }: CreateJob,
  { trainingRecords, begun = false, fineTuned = false }: HeldOutFacts,
): boolean =>
  !file &&
  graft?.validation_split === undefined &&
  !begun &&
  !fineTuned &&
  trainingRecords >= HELD_OUT_FROM;

const withGraft = (body: CreateJob, graft: CreateJob['graft']): CreateJob => ({
  ...body,
  graft: { ...body.graft, ...graft },
});

/** The same request for a job that holds nothing out. */
export const withoutHeldOut = (body: CreateJob): CreateJob =>
  withGraft(body, { validation_split: null });

/** The request with what is held out by default. */
export const withHeldOut = (body: CreateJob, facts: HeldOutFacts): CreateJob =>
  holdsOutByDefault(body, facts) ? withGraft(body, { validation_split: HELD_OUT }) : body;

/** The request of a job with validation data, with an evaluation at the end of each epoch. That of the last is the run's end. */
export function withEvaluations(body: CreateJob, pace: Pace, examples: number): CreateJob {
  const { validation_file: file, graft } = body;
  if (graft?.eval_steps !== undefined || (!file && !graft?.validation_split)) return body;
  const every = stepsPerEpoch(pace, examples);
  if (totalSteps(pace, examples) <= every) return body;
  return withGraft(body, { eval_steps: every });
}

/**
 * By which column the held-out records are stratified.
 * @throws DomainError where it is asked for and the task's records have no label
 */
export function stratifiedBy({ graft }: CreateJob, task: Task): Pick<Spec, 'stratify_by_column'> {
  const { stratify_by_column: asked, validation_split: share, task_options: options } = graft ?? {};
  if (asked && !task.labelled) {
    const message = `records of task ${task.name} do not have one label each; leave it out`;
    throw new DomainError('invalid_value', message, 'graft.stratify_by_column');
  }
  const isStratified = share && asked !== null && task.labelled && hasOneLabel(options);
  return isStratified ? { stratify_by_column: 'label' } : {};
}

/** The seed of the split is not the job's own, so that jobs that differ in `seed` are scored on the same records. */
export function splitSeed({ graft }: CreateJob): Pick<Spec, 'split_seed'> {
  const { split_seed: asked = SPLIT_SEED, validation_split: share } = graft ?? {};
  return share && asked !== null ? { split_seed: asked } : {};
}

/** Whether each record has one label, as far as a task's options say it. */
export const hasOneLabel = (options: Spec['task_options'] | undefined): boolean => {
  const problem = options?.['problem_type'] ?? null;
  return problem === null || problem === 'single_label_classification';
};
