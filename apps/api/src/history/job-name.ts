import type { Job } from '../database/entities/job.js';

/** SQL expression of the name that users see for a row of table `job`. */
export const JOB_NAME = 'COALESCE(job.name, job.default_name, job.suffix, job.id)';

/** Returns what `JOB_NAME` returns in SQL. */
export const jobName = (job: Pick<Job, 'id' | 'name' | 'default_name' | 'suffix'>): string =>
  job.name ?? job.default_name ?? job.suffix ?? job.id;
