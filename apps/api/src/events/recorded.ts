import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';

/** Whether the job's history has an event of this kind for the step. */
export async function isRecorded(
  database: Database,
  manager: EntityManager,
  { id }: Pick<Job, 'id'>,
  kind: string,
  step: number,
): Promise<boolean> {
  const rows = await database.query(
    `SELECT 1 FROM event WHERE job_id = $1 AND kind = $2 AND (data->>'step')::int = $3 LIMIT 1`,
    [id, kind, step],
    manager,
  );
  return rows.length > 0;
}
