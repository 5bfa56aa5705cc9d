import { EVAL_SCORE, type SweepStatus } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { IS_OPEN } from '../database/entities/job.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';

/** SQL: the step of a job's model, once there is one. */
export const MODEL_STEP = 'COALESCE(job.published_step, job.step)';

/** SQL: of a job and its sweep: it is done, and the model that it is compared by is still asked. */
export const IS_SCORING = `sweep.search->>'metric' = '${EVAL_SCORE}' AND job.state = 'succeeded' AND EXISTS (SELECT 1 FROM eval_run
    WHERE job_id = job.id AND eval_run.step IN (${MODEL_STEP}, job.step) AND status IN ('queued', 'in_progress'))`;

/** SQL: of a sweep: a trial of it is open, or its model is still asked. */
const GOES_ON = `EXISTS (SELECT 1 FROM job WHERE sweep_id = sweep.id AND (${IS_OPEN} OR ${IS_SCORING}))`;

interface Ended {
  readonly projectId: string;
  readonly status: Extract<SweepStatus, 'succeeded' | 'failed' | 'cancelled'>;
}

/** When sweeps are over, which is once, and is told. */
@Injectable()
export class SweepEnds {
  constructor(
    private readonly database: Database,
    private readonly webhooks: WebhookEvents,
  ) {}

  /** Call it in a transaction that ends a trial of the sweep, after that. */
  async trialEnded(manager: EntityManager, sweep: string | null): Promise<void> {
    if (sweep === null) return;
    // A statement of its own: the next one is to see what others wrote that had the lock.
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`end of ${sweep}`],
      manager,
    );
    const [ended] = await this.database.query<Ended>(
      `UPDATE sweep SET ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL AND NOT ${GOES_ON}
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

  /** The same where runs of evals have ended, which may have scored trials. */
  async runsEnded(manager: EntityManager, jobs: readonly (string | null)[]): Promise<void> {
    const sweeps = await this.database.query<{ id: string }>(
      `SELECT DISTINCT sweep_id AS id FROM job WHERE id = ANY($1) AND sweep_id IS NOT NULL ORDER BY 1`,
      [jobs],
      manager,
    );
    for (const { id } of sweeps) await this.trialEnded(manager, id);
  }
}
