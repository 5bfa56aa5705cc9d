import { poolAllowed } from '../../auth/pools.js';
import type { WorkerDatabase } from '../../database/database.js';
import { WORKER_VERSION } from './fit-worker.js';
import { USE_HALF_LIFE_SECONDS } from '../close-attempt.js';

/** SQL condition: the job itself may start. The index job_waiting contains the first half of it. */
export const IS_DUE = `job.state = 'queued' AND job.desired_state = 'run'
  AND (job.not_before IS NULL OR job.not_before <= clock_timestamp())`;

/** SQL: maximum number of running jobs of a project; null if there is no limit. */
export const RUNNING_LIMIT = `(project.limits->>'running_jobs')::int`;

/** SQL: the slot seconds of a pool_use row, decayed until now. */
export const decayedUse = `seconds * power(0.5, EXTRACT(EPOCH FROM statement_timestamp() - at)::float8 / ${USE_HALF_LIFE_SECONDS})`;

/**
 * SQL: jobs of a pool that may start now, in the order of assignment (docs/adr/0016). Lower priorities come
 * first; then the project with the lowest share of the pool relative to its weight, counting its earlier
 * jobs in the order as running; then the project with the lowest recent usage; then the older job. Columns:
 * id, attempt, project_id, base_id, priority, passed_over, schema_version, `place` (from 1) and `limited`
 * (whether the project has a limit of running jobs).
 * @param pool placeholder of the pool
 * @param window maximum number of jobs per project; 1 is enough to find the first job
 * @param worker placeholder of a worker's id, to select only jobs that it can run
 */
export const nextJobs = (pool: string, window: number | null, worker?: string): string =>
  `WITH running AS MATERIALIZED (
     SELECT project_id, count(*) AS jobs, count(*) FILTER (WHERE job.pool = ${pool}) AS here
     FROM job WHERE state = 'running' GROUP BY project_id
   ), lately AS MATERIALIZED (
     SELECT project_id, ${decayedUse} AS seconds
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
         AND schema_version <= (SELECT ${WORKER_VERSION} FROM worker WHERE id = ${worker})`
       }
       ORDER BY job.priority, job.created_at, job.id ${window === null ? '' : `LIMIT ${window}`}
     ) AS job
   ) AS next
   LEFT JOIN running ON running.project_id = project.id
   LEFT JOIN lately ON lately.project_id = project.id
   WHERE ${poolAllowed(pool, 'project.id')}
     AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = ${pool} AND pool.cordoned)
     AND (${RUNNING_LIMIT} IS NULL OR COALESCE(running.jobs, 0) + next.nth <= ${RUNNING_LIMIT})`;

/** Requirements of a job: a minimum schema version and preferably a worker that holds its base. */
interface JobRequirements {
  readonly baseId: string;
  readonly schemaVersion: number;
}

/** Requirements of the pool's next job; null if no job may start now. */
export async function nextRequirements(
  database: WorkerDatabase,
  pool: string,
): Promise<JobRequirements | null> {
  const [row] = await database.query<JobRequirements>(
    `SELECT base_id AS "baseId", schema_version AS "schemaVersion" FROM (${nextJobs('$1', 1)}) AS next ORDER BY place LIMIT 1`,
    [pool],
  );
  return row ?? null;
}
