import { Injectable } from '@nestjs/common';
import { EVAL_SCORE } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import type { EvalRun } from '../database/entities/evals.js';
import { JobIntegrations } from '../integrations/job-integrations.js';
import { EventLog, type NewEvent } from '../lifecycle/event-log.js';
import { Rungs } from '../lifecycle/rungs.js';

type Finished = Pick<EvalRun, 'id' | 'eval_id' | 'job_id' | 'step'>;

/** Records the result of an eval run for the job whose checkpoint it evaluated. */
@Injectable()
export class CheckpointScore {
  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
    private readonly integrations: JobIntegrations,
    private readonly rungs: Rungs,
  ) {}

  /**
   * Writes the score to the job's evaluations, its events and its best score. Call it in the transaction that ends
   * the run.
   */
  async write(manager: EntityManager, run: Finished): Promise<void> {
    const { job_id: id, step } = run;
    if (id === null || step === null) return;
    const [job] = await this.database.query<Job>(
      'SELECT * FROM job WHERE id = $1 FOR UPDATE',
      [id],
      manager,
    );
    if (!job) return;
    const [counted] = await this.database.query<Counts>(
      `SELECT count(*)::int AS total, count(*) FILTER (WHERE status = 'pass')::int AS passed,
         count(*) FILTER (WHERE status = 'error')::int AS errored FROM eval_item WHERE run_id = $1`,
      [run.id],
      manager,
    );
    const { total, passed, errored } = counted as Counts;
    // A score without the items that could not be graded would not be comparable.
    const event = errored > 0 ? unscored(step, errored, total) : scored(job, run, passed, total);
    if (errored === 0) await this.measured(manager, job, step, passed / total);
    await this.events.append(manager, id, [event]);
    if (errored === 0) await this.compared(manager, job, step, passed / total);
    await this.integrations.reopen(manager, id);
  }

  /**
   * Records that the checkpoint has no score because the run failed. Call it in the transaction in which the run
   * fails.
   */
  async recordMissing(
    manager: EntityManager,
    { job_id: id, step }: Finished,
    why: string,
  ): Promise<void> {
    if (id === null || step === null) return;
    const message = `The checkpoint at step ${step} has no score: ${why}`;
    await this.events.append(manager, id, [{ level: 'warn', message }]);
    await this.integrations.reopen(manager, id);
  }

  /** Compares the score with those of other trials, if the job is a trial of a sweep. */
  private async compared(
    manager: EntityManager,
    job: Job,
    step: number,
    score: number,
  ): Promise<void> {
    const rung = await this.rungs.reached(manager, job, { metric: EVAL_SCORE, step, score });
    if (rung) await this.events.append(manager, job.id, [rung.event]);
  }

  private async measured(
    manager: EntityManager,
    job: Job,
    step: number,
    score: number,
  ): Promise<void> {
    await this.database.query(
      `INSERT INTO evaluation (job_id, attempt, step, "full", "values")
       SELECT $1, COALESCE(max(attempt), $2), $3, true, jsonb_build_object($4::text, $5::float8)
       FROM checkpoint WHERE job_id = $1 AND step = $3
       ON CONFLICT (job_id, attempt, step) DO UPDATE SET "values" = evaluation."values" || excluded."values"`,
      [job.id, job.attempt, step, EVAL_SCORE, score],
      manager,
    );
    // Readers may use the evaluation of any attempt, so all get the score.
    await this.database.query(
      `UPDATE evaluation SET "values" = "values" || jsonb_build_object($3::text, $4::float8)
       WHERE job_id = $1 AND step = $2`,
      [job.id, step, EVAL_SCORE, score],
      manager,
    );
    await this.database.query(
      `UPDATE job SET best_score = jsonb_build_object('step', $2::int, '${EVAL_SCORE}', $3::float8)
       WHERE id = $1 AND (best_score IS NULL OR (best_score->>'${EVAL_SCORE}')::float8 < $3
         OR ((best_score->>'${EVAL_SCORE}')::float8 = $3 AND (best_score->>'step')::int > $2))`,
      [job.id, step, score],
      manager,
    );
  }
}

interface Counts {
  readonly total: number;
  readonly passed: number;
  readonly errored: number;
}

function scored(job: Job, run: Finished, passed: number, total: number): NewEvent {
  const score = passed / total;
  return {
    type: 'metrics',
    kind: 'evaluation',
    message: `Step ${run.step}/${job.total_steps ?? '?'}: eval score=${score.toFixed(2)} (${passed} of ${total} items pass)`,
    data: {
      step: run.step,
      total_steps: job.total_steps,
      [EVAL_SCORE]: score,
      eval_id: run.eval_id,
      eval_run_id: run.id,
    },
  };
}

const unscored = (step: number, errored: number, total: number): NewEvent => ({
  level: 'warn',
  message: `The checkpoint at step ${step} has no score: ${errored} of ${total} items of its eval could not be graded`,
});
