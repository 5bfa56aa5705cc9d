import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import { IS_OPEN, restorableText } from '../database/entities/job.js';

/** Maximum number of users that the error names. */
const NAMED = 10;

const HAS_GRADER = `jsonb_path_exists(testing_criteria, '$.**.model ? (@ == $id)', jsonb_build_object('id', $1::text))`;

/** SQL: names of what needs the model `$1`, one row each. */
const users = (restoreDays: number): string => `
  SELECT id AS name FROM job WHERE base_id = $1 AND ${IS_OPEN}
  UNION ALL
  SELECT id || ${restorableText(restoreDays)} FROM model WHERE base_id = $1 AND kind <> 'export'
  UNION ALL
  SELECT id || ' (its checkpoints)' FROM job
    WHERE base_id = $1 AND NOT ${IS_OPEN} AND deleted_at IS NULL AND fine_tuned_model IS NULL
      AND EXISTS (SELECT 1 FROM checkpoint WHERE job_id = job.id)
  UNION ALL
  SELECT run.id FROM eval_run AS run WHERE run.status IN ('queued', 'in_progress')
    AND (run.model = $1 OR EXISTS (SELECT 1 FROM eval WHERE id = run.eval_id AND ${HAS_GRADER}))
  UNION ALL
  SELECT job.id || ' (graft.eval)' FROM job
    JOIN eval_run ON eval_run.id = job.request->'graft'->>'eval' JOIN eval ON eval.id = eval_run.eval_id
    WHERE ${IS_OPEN} AND ${HAS_GRADER}
  LIMIT ${NAMED + 1}`;

/** Returns the names of jobs, models and eval runs that need a model, as text; null if there are none. */
export async function modelUsers(
  database: Database,
  id: string,
  restoreDays: number,
  manager: EntityManager,
): Promise<string | null> {
  const rows = await database.query<{ name: string }>(users(restoreDays), [id], manager);
  if (rows.length === 0) return null;
  const names = rows.slice(0, NAMED).map(({ name }) => name);
  return rows.length > NAMED ? `${names.join(', ')} and others` : names.join(', ');
}
