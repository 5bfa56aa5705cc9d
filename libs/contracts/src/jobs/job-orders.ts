// No zod: the dashboard bundles this file.

/** Sort keys of a list of jobs, named after fields of the job where possible. */
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
