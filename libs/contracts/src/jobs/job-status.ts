// No zod: the dashboard bundles this file.

/**
 * Statuses of a job. OpenAI's `validating_files` is not used: files are checked on upload, and against the base by the
 * create request, so that a job starts as `queued`.
 */
export const JOB_STATUSES = [
  'queued',
  'running',
  'succeeded',
  'failed',
  'cancelled',
  'paused',
] as const;

/** Statuses that a job does not leave. */
export const TERMINAL_STATUSES: readonly (typeof JOB_STATUSES)[number][] = [
  'succeeded',
  'failed',
  'cancelled',
];
