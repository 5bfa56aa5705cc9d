/** Pool of jobs that do not specify one. */
export const DEFAULT_POOL = 'default';
