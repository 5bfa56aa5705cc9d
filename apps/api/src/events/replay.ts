import { Injectable } from '@nestjs/common';
import type { PayloadOf } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { Counters } from '../metrics/counters.js';
import { finite } from '../history/job-object.js';
import { valueOf } from '../history/metric-values.js';
import type { NewEvent } from '../lifecycle/event-log.js';

/** The first step of a batch whose loss differs from that of an earlier attempt, and the number of such steps. */
interface Different {
  readonly step: number;
  readonly first: number;
  readonly now: number;
  readonly count: number;
}

const FIRST_ATTEMPT = 1;

/** Steps that an attempt repeats because an earlier one proceeded beyond its last checkpoint. */
@Injectable()
export class Replay {
  constructor(
    private readonly database: Database,
    private readonly counters: Counters,
  ) {}

  /** Returns the highest step that an earlier attempt reported. The history already contains the steps up to it. */
  async reported(manager: EntityManager, job: Job): Promise<number> {
    if (job.attempt <= FIRST_ATTEMPT) return 0;
    const [row] = await this.database.query<{ step: number }>(
      `SELECT COALESCE(max(last.step), 0) AS step FROM attempt, LATERAL (
         SELECT step FROM metric WHERE job_id = attempt.job_id AND metric.attempt = attempt.number ORDER BY step DESC LIMIT 1
       ) AS last WHERE attempt.job_id = $1 AND attempt.number < $2`,
      [job.id, job.attempt],
      manager,
    );
    return row?.step ?? 0;
  }

  /**
   * Compares losses. A step repeated after a resume must have exactly the same loss, which tests determinism at no
   * cost.
   */
  async compare(
    manager: EntityManager,
    job: Job,
    steps: readonly PayloadOf<'step'>[],
  ): Promise<NewEvent[]> {
    if (steps.length === 0) return [];
    const [found] = await this.database.query<Different>(
      `WITH different AS (
         SELECT DISTINCT ON (old.step) old.step, (old."values"->>'loss')::float8 AS first, new.loss AS now
         FROM metric old JOIN unnest($3::int[], $4::float8[]) AS new(step, loss) ON new.step = old.step
         WHERE old.job_id = $1 AND old.attempt < $2 AND (old."values"->>'loss')::float8 <> new.loss ORDER BY old.step, old.attempt
       ), counted AS (
         UPDATE job SET replay_mismatches = replay_mismatches + (SELECT count(*) FROM different)
         WHERE id = $1 AND attempt = $2 AND EXISTS (SELECT 1 FROM different)
       )
       SELECT step, first, now, (count(*) OVER ())::int AS count FROM different ORDER BY step LIMIT 1`,
      [
        job.id,
        job.attempt,
        steps.map((step) => step.step),
        steps.map((step) => valueOf(step.metrics, 'loss')),
      ],
      manager,
    );
    if (!found) return [];
    this.counters.replayMismatches.inc(found.count);
    // Only one event for each job: the cause is the same, and the counter includes the others.
    return job.replay_mismatches > 0 ? [] : [differenceLine(found)];
  }
}

function differenceLine({ step, first, now }: Different): NewEvent {
  return {
    level: 'warn',
    message:
      `Step ${step} had a different loss when it was repeated: ${now} instead of ${first}. ` +
      'The list of events keeps the first value, the curve shows the newest',
    data: { step, loss: finite(now), first_loss: finite(first) },
  };
}
