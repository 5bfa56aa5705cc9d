import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { evalOf } from '../history/checkpoints.repository.js';
import { checkpointName } from '../history/history-objects.js';
import { newId } from '../ids.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import type { Reported } from './reported.js';

/** Starts eval runs that score the checkpoints of a job. */
@Injectable()
export class CheckpointEvals {
  constructor(private readonly database: Database) {}

  /**
   * Starts a run of the job's eval on a checkpoint. The run is inserted in the transaction of the checkpoint, so that
   * it exists exactly once. Any process may work on it.
   */
  async start(step: number, { manager, job, at }: Omit<Reported, 'progress'>): Promise<NewEvent[]> {
    const like = evalOf(job);
    if (like === null) return [];
    await this.database.query(
      `WITH made AS (
         INSERT INTO eval_run (id, eval_id, project_id, key_id, name, model, data_source, job_id, step)
         SELECT $2, eval_id, project_id, key_id, $4, $3, jsonb_set(data_source, '{model}', to_jsonb($3::text)), $5, $6
         FROM eval_run WHERE id = $1 AND project_id = $7 AND items_deleted_at IS NULL
         ON CONFLICT (job_id, step) WHERE job_id IS NOT NULL DO NOTHING RETURNING id
       )
       INSERT INTO eval_item (run_id, number, item) SELECT made.id, number, item FROM made, eval_item WHERE run_id = $1`,
      [
        like,
        newId('evalrun_'),
        checkpointName(job, step),
        `${job.name ?? job.default_name ?? job.id} · step ${step}`,
        job.id,
        step,
        job.project_id,
      ],
      manager,
    );
    if (await this.hasRun(manager, job, step)) return [];
    const left = await this.database.query('SELECT 1 FROM eval_run WHERE id = $1', [like], manager);
    const what = left.length > 0 ? `the items of ${like} were` : `${like} was`;
    return [unscored(what, step, at)];
  }

  private async hasRun(
    manager: Reported['manager'],
    { id }: Pick<Job, 'id'>,
    step: number,
  ): Promise<boolean> {
    const rows = await this.database.query(
      'SELECT 1 FROM eval_run WHERE job_id = $1 AND step = $2',
      [id, step],
      manager,
    );
    return rows.length > 0;
  }
}

const unscored = (what: string, step: number, at: Date): NewEvent => ({
  level: 'warn',
  message: `The checkpoint at step ${step} has no score: ${what} deleted`,
  at,
});
