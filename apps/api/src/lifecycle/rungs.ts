import { Injectable } from '@nestjs/common';
import { EVAL_SCORE, TERMINAL_STATUSES, type SweepMetric } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import type { ResolvedSearch, SweepRung } from '../database/entities/sweeps.js';
import type { NewEvent } from './event-log.js';

/** Something that trials are compared by, as it was measured of one after so many steps. */
export interface Measured {
  readonly metric: SweepMetric;
  readonly step: number;
  readonly score: number;
}

export interface RungDecision {
  /** Whether the run is to end before its last step. */
  readonly endsEarly: boolean;
  readonly event: NewEvent;
}

/** What a job says that is to end at a rung. */
export const ENDING = {
  code: 'ending',
  message: 'Ending early: it is behind other trials of its sweep',
} as const;

/**
 * Which trials of a sweep go on from a rung (ASHA, arXiv:1810.05934, as it stops trials): each is compared with those
 * that were there before it, and waits for none.
 */
@Injectable()
export class Rungs {
  constructor(private readonly database: Database) {}

  /**
   * Call it in the transaction that writes what was measured, which holds the job row's lock. Null where that step is
   * no rung of the job, or it was there before: a trial that is behind is so once, whoever repeats its steps. One that is
   * ending is at no later rung. Of one that is over nothing is decided, though others are compared with what it was.
   */
  async reached(
    manager: EntityManager,
    job: Job,
    measured: Measured,
  ): Promise<RungDecision | null> {
    const isOfNone = job.sweep_id === null || job.end_at_step !== null;
    const search = isOfNone ? null : await this.searchOf(manager, job, measured);
    if (search === null) return null;
    // A statement of its own: the next one is to see what others wrote that had the lock.
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
    const place = placeAmong(measured, there);
    const isOver = TERMINAL_STATUSES.includes(job.state);
    const isBehind = !goesOn(measured, place, there.length + 1, search.reduction_factor ?? 1);
    const isLast = job.total_steps !== null && measured.step >= job.total_steps;
    const kept = isOver || !isBehind;
    if (!(await this.note(manager, job, measured, kept)) || isOver) return null;
    const endsEarly = !kept && !isLast;
    if (endsEarly) await this.end(manager, job, measured.step);
    return { endsEarly, event: told(measured, { place, there: there.length + 1, kept, isLast }) };
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

  /** False: it was there before. */
  private async note(
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

  /** Its worker is told so with the answer to its report, or to its next heartbeat. */
  private async end(manager: EntityManager, job: Job, step: number): Promise<void> {
    await this.database.query(
      `UPDATE job SET end_at_step = $3,
         phase_code = CASE WHEN state = 'running' THEN $4 ELSE phase_code END,
         phase_message = CASE WHEN state = 'running' THEN $5 ELSE phase_message END
       WHERE id = $1 AND attempt = $2 AND ${IS_OPEN}`,
      [job.id, job.attempt, step, ENDING.code, ENDING.message],
      manager,
    );
    // what else of the batch comes is of one that ends
    job.end_at_step = step;
  }
}

/** 1 is the best; of equal ones each has the better place. What is not finite is behind all that is. */
export function placeAmong(
  { metric, score }: Measured,
  others: readonly Pick<SweepRung, 'score'>[],
): number {
  const worth = (value: number | null): number => {
    if (value === null || !Number.isFinite(value)) return -Infinity;
    return metric === EVAL_SCORE ? value : -value;
  };
  return 1 + others.filter((other) => worth(other.score) > worth(score)).length;
}

/** Among the best 1/eta of those that are there, or the best of all. */
export const goesOn = (
  { score }: Pick<Measured, 'score'>,
  place: number,
  there: number,
  eta: number,
): boolean => Number.isFinite(score) && place <= Math.max(1, Math.floor(there / eta));

interface Place {
  readonly place: number;
  readonly there: number;
  readonly kept: boolean;
  /** Whether it is at its last step, too. */
  readonly isLast: boolean;
}

function told({ step }: Measured, { place, there, kept, isLast }: Place): NewEvent {
  const among = there === 1 ? 'the first trial there' : `place ${place} of ${there} trials so far`;
  const then = isLast ? 'has reached its last step' : kept ? 'continues' : 'ends early';
  return {
    message: `Rung of the sweep at step ${step}: ${among}; the run ${then}`,
    data: { step, place, trials: there, kept },
  };
}
