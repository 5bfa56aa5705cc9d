import { EVAL_SCORE, type SweepStatus } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';

/** SQL: step of a job's model, once it exists. */
export const MODEL_STEP = 'COALESCE(job.published_step, job.step)';

/**
 * SQL, for a job and its sweep: the job has succeeded, and the eval of the model that it is compared by is
 * unfinished.
 */
export const IS_SCORING = `sweep.search->>'metric' = '${EVAL_SCORE}' AND job.state = 'succeeded' AND EXISTS (SELECT 1 FROM eval_run
    WHERE job_id = job.id AND eval_run.step IN (${MODEL_STEP}, job.step) AND status IN ('queued', 'in_progress'))`;

/** SQL, for a sweep: a trial is unfinished, or its model is still being scored. */
const IS_UNFINISHED = `EXISTS (SELECT 1 FROM job WHERE sweep_id = sweep.id AND (${IS_OPEN} OR ${IS_SCORING}))`;

interface Ended {
  readonly projectId: string;
  readonly status: Extract<SweepStatus, 'succeeded' | 'failed' | 'cancelled'>;
}

/** Ends sweeps, once each, and writes the webhook event. */
@Injectable()
export class SweepEnds {
  constructor(
    private readonly database: Database,
    private readonly webhooks: WebhookEvents,
  ) {}

  /** Ends the sweep if all trials have ended. Call it after ending a trial, in the same transaction. */
  async trialEnded(manager: EntityManager, sweep: string | null): Promise<void> {
    if (sweep === null) return;
    // A separate statement: the snapshot of the next one must include the commits of the previous lock
    // holders.
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`end of ${sweep}`],
      manager,
    );
    const [ended] = await this.database.query<Ended>(
      `UPDATE sweep SET ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL AND NOT ${IS_UNFINISHED}
       RETURNING project_id AS "projectId", CASE
         WHEN cancelled_at IS NOT NULL THEN 'cancelled'
         WHEN gone ? 'succeeded' OR EXISTS (SELECT 1 FROM job WHERE sweep_id = $1 AND state = 'succeeded') THEN 'succeeded'
         WHEN gone ? 'failed' OR EXISTS (SELECT 1 FROM job WHERE sweep_id = $1 AND state = 'failed') THEN 'failed'
         ELSE 'cancelled' END AS status`,
      [sweep],
      manager,
    );
    if (!ended) return;
    const { projectId, status } = ended;
    await this.webhooks.write(manager, { type: `graft.sweep.${status}`, projectId, target: sweep });
  }

  /** Same as `trialEnded`, for eval runs that have ended and may have scored trials. */
  async runsEnded(manager: EntityManager, jobs: readonly (string | null)[]): Promise<void> {
    const sweeps = await this.database.query<{ id: string }>(
      `SELECT DISTINCT sweep_id AS id FROM job WHERE id = ANY($1) AND sweep_id IS NOT NULL ORDER BY 1`,
      [jobs],
      manager,
    );
    for (const { id } of sweeps) await this.trialEnded(manager, id);
  }
}
