import type { ErrorCode } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import type { Attempt, Job } from '../database/entities/job.js';

/** Half-life of the slot time that a project has used, for choosing the next job. */
export const USE_HALF_LIFE_SECONDS = 3600;

/** Outcome of an attempt whose trainer process an administrator killed. */
const INTERRUPTED = 'interrupted' satisfies ErrorCode;
/** Maximum length of a reason, in characters. */
const MAX_REASON = 500;

/**
 * Ends the attempt that a job had when its row was locked, and adds its slot time to the usage of the
 * project.
 */
export async function closeAttempt(
  database: Database,
  manager: EntityManager,
  job: Pick<Job, 'id' | 'attempt'>,
  outcome: string,
  death: Partial<Pick<Attempt, 'blame' | 'process' | 'reason'>> = {},
): Promise<void> {
  await database.query(
    `WITH closed AS (
       UPDATE attempt SET ended_at = clock_timestamp(), outcome = $3, blame = $4,
           process = COALESCE($5, process),
           to_step = CASE WHEN started_at IS NOT NULL THEN (SELECT step FROM job WHERE id = $1) END,
           reason = CASE WHEN $3 = '${INTERRUPTED}' AND interrupted_by IS NOT NULL
             THEN 'interrupted on purpose by ' || interrupted_by ELSE $6 END
       WHERE job_id = $1 AND number = $2 AND ended_at IS NULL RETURNING ended_at, ended_at - assigned_at AS held
     )
     INSERT INTO pool_use (pool, project_id, seconds, at)
     SELECT pool, project_id, EXTRACT(EPOCH FROM held), ended_at FROM closed, job WHERE job.id = $1
     ON CONFLICT (pool, project_id) DO UPDATE SET at = excluded.at, seconds = excluded.seconds +
       pool_use.seconds * power(0.5, EXTRACT(EPOCH FROM excluded.at - pool_use.at)::float8 / ${USE_HALF_LIFE_SECONDS})`,
    [
      job.id,
      job.attempt,
      outcome,
      death.blame ?? null,
      death.process ?? null,
      death.reason?.slice(0, MAX_REASON) ?? null,
    ],
    manager,
  );
}
