// Without zod, since the dashboard's bundle has it.

/**
 * OpenAI's `validating_files` is not among them: files are checked when they are uploaded, and for the base in the
 * request that creates the job, so that a job begins in `queued`.
 */
export const JOB_STATUSES = [
  'queued',
  'running',
  'succeeded',
  'failed',
  'cancelled',
  'paused',
] as const;

/** A job in one of these stays in it. */
export const TERMINAL_STATUSES: readonly (typeof JOB_STATUSES)[number][] = [
  'succeeded',
  'failed',
  'cancelled',
];
