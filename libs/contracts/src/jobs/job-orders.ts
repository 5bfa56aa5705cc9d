// Without zod, since the dashboard's bundle has it.

/** By what a list of jobs may be sorted: names of a job's own fields where it has such. */
export const JOB_ORDERS = [
  'created_at',
  'finished_at',
  'name',
  'status',
  'model',
  'method',
  'pool',
  'train_loss',
  'valid_loss',
  'best_valid_loss',
  'eval_score',
  'trained_tokens',
] as const;
export type JobOrder = (typeof JOB_ORDERS)[number];
