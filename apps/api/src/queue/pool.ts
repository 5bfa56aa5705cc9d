/** Pool of a job that names none. */
export const DEFAULT_POOL = 'default';
