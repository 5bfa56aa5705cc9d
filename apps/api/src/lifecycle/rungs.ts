import { Injectable } from '@nestjs/common';
import { EVAL_SCORE, TERMINAL_STATUSES, type SweepMetric } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import type { ResolvedSearch, SweepRung } from '../database/entities/sweeps.js';
import type { NewEvent } from './event-log.js';

/** Value of the sweep's metric for a trial after `step` steps. */
export interface Measured {
  readonly metric: SweepMetric;
  readonly step: number;
  readonly score: number;
}

export interface RungDecision {
  /** Whether the run must end before its last step. */
  readonly endsEarly: boolean;
  readonly event: NewEvent;
}

/** Phase of a job that will end at a rung. */
export const ENDING_PHASE = {
  code: 'ending',
  message: 'Ending early: it is behind other trials of its sweep',
} as const;

/**
 * Asynchronous successive halving (ASHA, arXiv:1810.05934, stopping variant): decides which trials of a
 * sweep continue after a rung. Each trial is compared with those that reached the rung before it and waits
 * for none.
 */
@Injectable()
export class Rungs {
  constructor(private readonly database: Database) {}

  /**
   * Records a trial at a rung and decides whether it continues. Call it in the transaction that writes the
   * measurement and holds the lock on the job's row.
   * Returns null if the step is no rung of the job, if the job has already been at this rung (repeated
   * steps do not count), if it is already ending, or if it has ended. The score of an ended job is still
   * stored, so that other trials are compared with it.
   */
  async reached(
    manager: EntityManager,
    job: Job,
    measured: Measured,
  ): Promise<RungDecision | null> {
    const isOfNone = job.sweep_id === null || job.end_at_step !== null;
    const search = isOfNone ? null : await this.searchOf(manager, job, measured);
    if (search === null) return null;
    // A separate statement: the snapshot of the next one must include the commits of the previous lock
    // holders.
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`rungs ${job.sweep_id}`],
      manager,
    );
    const there = await this.database.query<Pick<SweepRung, 'score'>>(
      'SELECT score FROM sweep_rung WHERE sweep_id = $1 AND step = $2 AND job_id <> $3',
      [job.sweep_id, measured.step, job.id],
      manager,
    );
    const place = rankAmong(measured, there);
    const isOver = TERMINAL_STATUSES.includes(job.state);
    const isBehind = !continues(measured, place, there.length + 1, search.reduction_factor ?? 1);
    const isLast = job.total_steps !== null && measured.step >= job.total_steps;
    const kept = isOver || !isBehind;
    if (!(await this.record(manager, job, measured, kept)) || isOver) return null;
    const endsEarly = !kept && !isLast;
    if (endsEarly) await this.end(manager, job, measured.step);
    return {
      endsEarly,
      event: rungEvent(measured, { place, there: there.length + 1, kept, isLast }),
    };
  }

  private async searchOf(
    manager: EntityManager,
    job: Job,
    { metric, step }: Measured,
  ): Promise<ResolvedSearch | null> {
    const [sweep] = await this.database.query<{ search: ResolvedSearch }>(
      `SELECT search FROM sweep WHERE id = $1 AND search->>'metric' = $2 AND search->'rungs' @> to_jsonb($3::int)`,
      [job.sweep_id, metric, step],
      manager,
    );
    return sweep?.search ?? null;
  }

  /** Stores the result at a rung. Returns false if there is one already. */
  private async record(
    manager: EntityManager,
    job: Job,
    { step, score }: Measured,
    kept: boolean,
  ): Promise<boolean> {
    const rows = await this.database.query(
      `INSERT INTO sweep_rung (job_id, step, sweep_id, score, kept) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT DO NOTHING RETURNING step`,
      [job.id, step, job.sweep_id, Number.isFinite(score) ? score : null, kept],
      manager,
    );
    return rows.length > 0;
  }

  /** Ends a job at a step. Its worker learns this from the response to its report or next heartbeat. */
  private async end(manager: EntityManager, job: Job, step: number): Promise<void> {
    await this.database.query(
      `UPDATE job SET end_at_step = $3,
         phase_code = CASE WHEN state = 'running' THEN $4 ELSE phase_code END,
         phase_message = CASE WHEN state = 'running' THEN $5 ELSE phase_message END
       WHERE id = $1 AND attempt = $2 AND ${IS_OPEN}`,
      [job.id, job.attempt, step, ENDING_PHASE.code, ENDING_PHASE.message],
      manager,
    );
    // later messages of the batch must see that the job is ending
    job.end_at_step = step;
  }
}

/**
 * Rank among the trials at a rung, starting at 1. Equal scores share the better rank. Values that are not
 * finite rank last.
 */
export function rankAmong(
  { metric, score }: Measured,
  others: readonly Pick<SweepRung, 'score'>[],
): number {
  const worth = (value: number | null): number => {
    if (value === null || !Number.isFinite(value)) return -Infinity;
    return metric === EVAL_SCORE ? value : -value;
  };
  return 1 + others.filter((other) => worth(other.score) > worth(score)).length;
}

/**
 * Whether a trial continues: its rank is among the best 1/eta of the trials at the rung, or it is the best.
 */
export const continues = (
  { score }: Pick<Measured, 'score'>,
  place: number,
  there: number,
  eta: number,
): boolean => Number.isFinite(score) && place <= Math.max(1, Math.floor(there / eta));

interface Place {
  readonly place: number;
  readonly there: number;
  readonly kept: boolean;
  /** Whether the trial has also reached its last step. */
  readonly isLast: boolean;
}

function rungEvent({ step }: Measured, { place, there, kept, isLast }: Place): NewEvent {
  const among = there === 1 ? 'the first trial there' : `place ${place} of ${there} trials so far`;
  const then = isLast ? 'has reached its last step' : kept ? 'continues' : 'ends early';
  return {
    message: `Rung of the sweep at step ${step}: ${among}; the run ${then}`,
    data: { step, place, trials: there, kept },
  };
}
