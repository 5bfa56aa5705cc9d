import { poolAllowed } from '../../auth/pools.js';
import type { WorkerDatabase } from '../../database/database.js';
import { TAKES_VERSION } from './fit-worker.js';
import { USE_HALVES_SECONDS } from '../close-attempt.js';

/** SQL: of a job that may start as far as it alone is concerned. The index job_waiting has its first half. */
export const IS_DUE = `job.state = 'queued' AND job.desired_state = 'run'
  AND (job.not_before IS NULL OR job.not_before <= clock_timestamp())`;

/** SQL: the most jobs of a project that may run at once; null where any number may. */
export const RUNNING_LIMIT = `(project.limits->>'running_jobs')::int`;

/** SQL: slot seconds that a row of pool_use comes to now. */
export const usedLately = `seconds * power(0.5, EXTRACT(EPOCH FROM statement_timestamp() - at)::float8 / ${USE_HALVES_SECONDS})`;

/**
 * SQL: jobs of a pool in the order in which they are to be given (docs/adr/0016), those that may start now alone.
 * Lower priorities first; then the project that would hold the least of the pool for its weight, all of its own jobs
 * before this one counted as running; then the one that held least lately; then the older job. Columns: id, attempt,
 * project_id, base_id, priority, passed_over, schema_version, `place` from 1, and `limited`: the project has a limit of
 * running jobs.
 * @param pool a placeholder
 * @param window how many of each project's jobs are looked at: one, where only the first of all is asked for
 * @param worker a placeholder: only jobs that it can be given
 */
export const nextJobs = (pool: string, window: number | null, worker?: string): string =>
  `WITH running AS MATERIALIZED (
     SELECT project_id, count(*) AS jobs, count(*) FILTER (WHERE job.pool = ${pool}) AS here
     FROM job WHERE state = 'running' GROUP BY project_id
   ), lately AS MATERIALIZED (
     SELECT project_id, ${usedLately} AS seconds
     FROM pool_use WHERE pool_use.pool = ${pool}
   )
   SELECT next.id, next.attempt, project.id AS project_id, next.base_id, next.priority, next.passed_over, next.schema_version,
     ${RUNNING_LIMIT} IS NOT NULL AS limited,
     row_number() OVER (ORDER BY next.priority,
       (COALESCE(running.here, 0) + next.nth - 1) / GREATEST(project.weight, 1)::float8,
       COALESCE(lately.seconds, 0) / GREATEST(project.weight, 1), next.created_at, next.id) AS place
   FROM project
   CROSS JOIN LATERAL (
     SELECT job.*, row_number() OVER (ORDER BY job.priority, job.created_at, job.id) AS nth
     FROM (
       SELECT id, attempt, base_id, priority, passed_over, created_at, schema_version FROM job
       WHERE job.pool = ${pool} AND job.project_id = project.id AND ${IS_DUE}${
         worker === undefined
           ? ''
           : `
         AND schema_version <= (SELECT ${TAKES_VERSION} FROM worker WHERE id = ${worker})`
       }
       ORDER BY job.priority, job.created_at, job.id ${window === null ? '' : `LIMIT ${window}`}
     ) AS job
   ) AS next
   LEFT JOIN running ON running.project_id = project.id
   LEFT JOIN lately ON lately.project_id = project.id
   WHERE ${poolAllowed(pool, 'project.id')}
     AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = ${pool} AND pool.cordoned)
     AND (${RUNNING_LIMIT} IS NULL OR COALESCE(running.jobs, 0) + next.nth <= ${RUNNING_LIMIT})`;

/** What a job wants of its worker: at least its schema version; a worker that holds its base goes first. */
interface Wants {
  readonly baseId: string;
  readonly schemaVersion: number;
}

/** What the pool's next job wants of its worker; null where no job may start now. */
export async function nextWants(database: WorkerDatabase, pool: string): Promise<Wants | null> {
  const [row] = await database.query<Wants>(
    `SELECT base_id AS "baseId", schema_version AS "schemaVersion" FROM (${nextJobs('$1', 1)}) AS next ORDER BY place LIMIT 1`,
    [pool],
  );
  return row ?? null;
}
