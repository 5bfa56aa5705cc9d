import { Injectable } from '@nestjs/common';
import type { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { poolAllowed } from '../auth/pools.js';
import type { Claim } from '../claims/claimed-work.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { EvalRun } from '../database/entities/evals.js';
import { jsonbText } from '../database/jsonb.js';
import { newId } from '../ids.js';
import { SweepEnds } from '../lifecycle/sweep-ends.js';
import { CheckpointScore } from './checkpoint-score.js';
import type { Graded, PartialItem, Wait } from './graded-item.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';

/** Key of an advisory lock. It can be any number that is unique in this database. */
const ADVISORY_LOCK = 7_240_261;

/**
 * SQL condition that the claim still holds ($1 is the run, $2 the owner). The run may be canceled or deleted
 * meanwhile.
 */
const MINE = `id = $1 AND owner = $2 AND status = 'in_progress'`;

/**
 * SQL for the pool that should answer the run `eval_run`: among the pools that its project may use and that accept
 * work, the one that trained the model, or else the one that had a worker last. Workers of any pool may answer, so
 * one pool is enough.
 */
const POOL = `SELECT name FROM (SELECT name FROM pool UNION SELECT 'default') AS named
  WHERE ${poolAllowed('named.name', 'eval_run.project_id')}
    AND NOT EXISTS (SELECT 1 FROM pool held WHERE held.name = named.name AND held.cordoned)
  ORDER BY name = (SELECT pool FROM job WHERE id =
      COALESCE(eval_run.job_id, (SELECT job_id FROM model WHERE model.id = eval_run.model))) DESC NULLS LAST,
    (SELECT max(last_seen_at) FROM worker WHERE worker.pool = named.name) DESC NULLS LAST, name = 'default' DESC, name LIMIT 1`;

/** SQL for the time that the run has waited. */
const WAITED = `clock_timestamp() - COALESCE(waiting_since, clock_timestamp())`;

/**
 * SQL condition that no process works on the run. It is checked again when the run is taken, since it may have been
 * canceled.
 */
const FREE = `status IN ('queued', 'in_progress') AND (owner IS NULL OR owner_until < clock_timestamp())`;

/**
 * Claims of processes on eval runs. Every write checks the claim, so that it has no effect after another process has
 * taken over. All times are by the database's clock.
 */
@Injectable()
export class EvalClaims {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly webhooks: WebhookEvents,
    private readonly scores: CheckpointScore,
    private readonly sweeps: SweepEnds,
  ) {}

  /**
   * Claims runs that no process works on, or whose process has not renewed its claim for a lease. A project runs one
   * at a time, so that its own chats and those of other projects get their turns: the one that has waited longest.
   * Projects take turns; the one whose last turn was longest ago comes first.
   */
  async take(most: number): Promise<Claim[]> {
    if (most <= 0) return [];
    const owner = newId('evalrunner-');
    return this.database.transaction(async (manager) => {
      await this.database.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK], manager);
      return this.database.query<Claim>(
        `UPDATE eval_run SET status = 'in_progress', owner = $1, taken_at = clock_timestamp(), resume_at = NULL,
           owner_until = clock_timestamp() + $2 * interval '1 millisecond'
         WHERE id IN (
           SELECT id FROM (
             SELECT DISTINCT ON (run.project_id) run.id, run.project_id, run.created_at FROM eval_run AS run
             JOIN project ON project.id = run.project_id AND archived_at IS NULL
             WHERE ${FREE} AND (resume_at IS NULL OR resume_at <= clock_timestamp())
               AND NOT EXISTS (SELECT 1 FROM eval_run AS other WHERE other.project_id = run.project_id
                 AND other.status = 'in_progress' AND other.owner_until >= clock_timestamp())
             ORDER BY run.project_id, COALESCE(run.taken_at, run.created_at), run.id
           ) AS next ORDER BY (SELECT max(taken_at) FROM eval_run AS done WHERE done.project_id = next.project_id) NULLS FIRST,
             created_at LIMIT $3) AND ${FREE}
         RETURNING id, owner`,
        [owner, this.settings.leaseMs, most],
        manager,
      );
    });
  }

  /** Returns the run, or null if the claim no longer holds. */
  async run({ id, owner }: Claim): Promise<EvalRun | null> {
    const [run] = await this.database.query<EvalRun>(`SELECT * FROM eval_run WHERE ${MINE}`, [
      id,
      owner,
    ]);
    return run ?? null;
  }

  /** Renews the claim. Returns false if it no longer holds. */
  async renew({ id, owner }: Claim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE eval_run SET owner_until = clock_timestamp() + $3 * interval '1 millisecond' WHERE ${MINE} RETURNING id`,
      [id, owner, this.settings.leaseMs],
    );
    return rows.length > 0;
  }

  /** Releases the run, so that another process may continue it immediately. */
  async release({ id, owner }: Claim): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET owner = NULL, owner_until = NULL WHERE ${MINE}`,
      [id, owner],
    );
  }

  /** Stores the partial result of an item that has to wait. */
  async storePartial(
    { id, owner }: Claim,
    { number, sample, results, usage }: PartialItem,
  ): Promise<void> {
    await this.database.query(
      `WITH mine AS (SELECT id FROM eval_run WHERE ${MINE} FOR SHARE)
       UPDATE eval_item SET sample = $4::jsonb, results = $5::jsonb, usage = $6::jsonb
       FROM mine WHERE run_id = mine.id AND number = $3 AND eval_item.status = 'queued'`,
      [
        id,
        owner,
        number,
        sample === null ? null : jsonbText(sample),
        jsonbText(results),
        jsonbText(usage),
      ],
    );
  }

  /** Records that the run no longer waits. */
  async endWait({ id, owner }: Claim): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET waiting_since = NULL WHERE ${MINE} AND waiting_since IS NOT NULL`,
      [id, owner],
    );
  }

  /**
   * Releases the run until it can be retried, with a delay that grows with the time that it has waited, up to half a
   * minute. A run that has waited for too long fails.
   * @returns the delay in milliseconds, or null if the run ended
   */
  async wait(claim: Claim, { error, fault }: Wait): Promise<number | null> {
    const { id, owner } = claim;
    const [run] = await this.database.query<{ pause: number | null }>(
      `UPDATE eval_run SET owner = NULL, owner_until = NULL, waiting_since = COALESCE(waiting_since, clock_timestamp()),
         resume_at = clock_timestamp() + (0.5 + random())
           * LEAST(interval '20 s', GREATEST(interval '250 ms', (${WAITED}) / 4)),
         wanted_pool = CASE WHEN $4 THEN (${POOL}) END
       WHERE ${MINE} AND ${WAITED} < $3 * interval '1 millisecond'
       RETURNING EXTRACT(EPOCH FROM resume_at - clock_timestamp())::float8 * 1000 AS pause`,
      // More workers only help if no worker was available.
      [id, owner, this.settings.evalWaitMs, fault === 'relay'],
    );
    if (run) return run.pause;
    await this.fail(claim, error);
    return null;
  }

  private async fail({ id, owner }: Claim, { code, message }: DomainError): Promise<void> {
    const seconds = this.settings.evalWaitMs / 1000;
    const error = {
      code,
      message: `the run waited for more than ${seconds} s (GRAFT_EVAL_WAIT): ${message}. Start a new run once that is resolved`,
    };
    await this.ending(id, async (manager) => {
      const [run] = await this.database.query<EvalRun>(
        `UPDATE eval_run SET status = 'failed', error = $3::jsonb, owner = NULL, owner_until = NULL, wanted_pool = NULL
         WHERE ${MINE} RETURNING *`,
        [id, owner, jsonbText(error)],
        manager,
      );
      if (!run) return null;
      await this.scores.recordMissing(manager, run, error.message);
      return { run, type: 'eval.run.failed' };
    });
  }

  /** Stores the result of an item, once. Returns false if the claim no longer holds. */
  async grade({ id, owner }: Claim, item: Graded): Promise<boolean> {
    const rows = await this.database.query(
      `WITH mine AS (SELECT id FROM eval_run WHERE ${MINE} FOR SHARE)
       UPDATE eval_item SET status = $4, sample = $5::jsonb, results = $6::jsonb, usage = $7::jsonb,
         done_at = clock_timestamp()
       FROM mine WHERE run_id = mine.id AND number = $3 AND eval_item.status = 'queued' RETURNING number`,
      [
        id,
        owner,
        item.number,
        item.status,
        item.sample === null ? null : jsonbText(item.sample),
        jsonbText(item.results),
        jsonbText(item.usage),
      ],
    );
    return rows.length > 0;
  }

  /** Completes the run if all of its items are graded. */
  async finish({ id, owner }: Claim): Promise<void> {
    await this.ending(id, async (manager) => {
      const [run] = await this.database.query<EvalRun>(
        `UPDATE eval_run SET status = 'completed', owner = NULL, owner_until = NULL WHERE ${MINE}
           AND NOT EXISTS (SELECT 1 FROM eval_item WHERE run_id = $1 AND eval_item.status = 'queued')
         RETURNING *`,
        [id, owner],
        manager,
      );
      if (!run) return null;
      await this.scores.write(manager, run);
      return { run, type: 'eval.run.succeeded' };
    });
  }

  /**
   * Ends a run by `end` and notifies webhooks and the job. The job's row is locked before the run's, as in
   * cancellation.
   */
  private async ending(
    id: string,
    end: (
      manager: EntityManager,
    ) => Promise<{ run: EvalRun; type: 'eval.run.succeeded' | 'eval.run.failed' } | null>,
  ): Promise<void> {
    await this.database.transaction(async (manager) => {
      await this.database.query(
        'SELECT 1 FROM job WHERE id = (SELECT job_id FROM eval_run WHERE id = $1) FOR UPDATE',
        [id],
        manager,
      );
      const ended = await end(manager);
      if (!ended) return;
      const { run, type } = ended;
      await this.webhooks.write(manager, { type, projectId: run.project_id, target: id });
      await this.sweeps.runsEnded(manager, [run.job_id]);
    });
  }
}
