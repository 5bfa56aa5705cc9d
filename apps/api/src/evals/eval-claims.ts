import { Injectable } from '@nestjs/common';
import type { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { poolAllowed } from '../auth/pools.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { EvalItem, EvalRun } from '../database/entities/evals.js';
import { jsonbText } from '../database/jsonb.js';
import { newId } from '../ids.js';
import { SweepEnds } from '../lifecycle/sweep-ends.js';
import { CheckpointScore } from './checkpoint-score.js';
import type { Halted, Wait } from './grade-item.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';

/** A run that this process does: what it writes names the claim, and so changes nothing once it is another's. */
export interface RunClaim {
  readonly id: string;
  readonly owner: string;
}

export type Graded = Pick<EvalItem, 'number' | 'sample' | 'results' | 'usage'> & {
  readonly status: 'pass' | 'fail' | 'error';
};

/** Any number that no other user of this database locks. */
const ADVISORY_LOCK = 7_240_261;

/** SQL: the run while it is the claim's ($1 the run, $2 the owner); meanwhile it may be cancelled or deleted. */
const MINE = `id = $1 AND owner = $2 AND status = 'in_progress'`;

/**
 * SQL: the pool that is to answer the run `eval_run`: of those that its project may use and that take work, the one that
 * trained the model, else the one that had a worker last. A worker of any pool may answer, so that one pool is enough.
 */
const POOL = `SELECT name FROM (SELECT name FROM pool UNION SELECT 'default') AS named
  WHERE ${poolAllowed('named.name', 'eval_run.project_id')}
    AND NOT EXISTS (SELECT 1 FROM pool held WHERE held.name = named.name AND held.cordoned)
  ORDER BY name = (SELECT pool FROM job WHERE id =
      COALESCE(eval_run.job_id, (SELECT job_id FROM model WHERE model.id = eval_run.model))) DESC NULLS LAST,
    (SELECT max(last_seen_at) FROM worker WHERE worker.pool = named.name) DESC NULLS LAST, name = 'default' DESC, name LIMIT 1`;

/** SQL: how long the run has waited. */
const WAITED = `clock_timestamp() - COALESCE(waiting_since, clock_timestamp())`;

/** SQL: nobody does the run. Also where a row is taken: it may have been cancelled since it was looked for. */
const FREE = `status IN ('queued', 'in_progress') AND (owner IS NULL OR owner_until < clock_timestamp())`;

/** Who does which run. All times are the database's. */
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
   * Takes runs that nobody does, or whose process has not been heard of for a lease. Of a project one at a time, so that
   * its own chats, and other projects', have their turns between: the one that has stood in line longest. Projects take
   * turns: first the one that has not had one for longest.
   */
  async take(most: number): Promise<RunClaim[]> {
    if (most <= 0) return [];
    const owner = newId('evalrunner-');
    return this.database.transaction(async (manager) => {
      await this.database.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK], manager);
      return this.database.query<RunClaim>(
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

  /** Null: the run is not the claim's any more. */
  async run({ id, owner }: RunClaim): Promise<EvalRun | null> {
    const [run] = await this.database.query<EvalRun>(`SELECT * FROM eval_run WHERE ${MINE}`, [
      id,
      owner,
    ]);
    return run ?? null;
  }

  /** False: the run is not the claim's any more. */
  async renew({ id, owner }: RunClaim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE eval_run SET owner_until = clock_timestamp() + $3 * interval '1 millisecond' WHERE ${MINE} RETURNING id`,
      [id, owner, this.settings.leaseMs],
    );
    return rows.length > 0;
  }

  /** Another process may go on at once. */
  async leave({ id, owner }: RunClaim): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET owner = NULL, owner_until = NULL WHERE ${MINE}`,
      [id, owner],
    );
  }

  /** Keeps what there is of an item that has to wait. */
  async hold({ id, owner }: RunClaim, { number, sample, results, usage }: Halted): Promise<void> {
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

  /** The run does not wait any more. */
  async goesOn({ id, owner }: RunClaim): Promise<void> {
    await this.database.query(
      `UPDATE eval_run SET waiting_since = NULL WHERE ${MINE} AND waiting_since IS NOT NULL`,
      [id, owner],
    );
  }

  /**
   * Gives the run back until there may be what it waits for; the longer it has waited, the longer it is left alone, up to
   * half a minute. A run that has waited as long as runs may fails. Answers with the pause in milliseconds; null: it ended.
   */
  async wait(claim: RunClaim, { error, fault }: Wait): Promise<number | null> {
    const { id, owner } = claim;
    const [run] = await this.database.query<{ pause: number | null }>(
      `UPDATE eval_run SET owner = NULL, owner_until = NULL, waiting_since = COALESCE(waiting_since, clock_timestamp()),
         resume_at = clock_timestamp() + (0.5 + random())
           * LEAST(interval '20 s', GREATEST(interval '250 ms', (${WAITED}) / 4)),
         wanted_pool = CASE WHEN $4 THEN (${POOL}) END
       WHERE ${MINE} AND ${WAITED} < $3 * interval '1 millisecond'
       RETURNING EXTRACT(EPOCH FROM resume_at - clock_timestamp())::float8 * 1000 AS pause`,
      // More workers change nothing about any other part.
      [id, owner, this.settings.evalWaitMs, fault === 'relay'],
    );
    if (run) return run.pause;
    await this.fail(claim, error);
    return null;
  }

  private async fail({ id, owner }: RunClaim, { code, message }: DomainError): Promise<void> {
    const seconds = this.settings.evalWaitMs / 1000;
    const error = {
      code,
      message: `the run waited, and nothing came of it within ${seconds} s (GRAFT_EVAL_WAIT): ${message}. Start a new run once that is resolved`,
    };
    await this.ending(id, async (manager) => {
      const [run] = await this.database.query<EvalRun>(
        `UPDATE eval_run SET status = 'failed', error = $3::jsonb, owner = NULL, owner_until = NULL, wanted_pool = NULL
         WHERE ${MINE} RETURNING *`,
        [id, owner, jsonbText(error)],
        manager,
      );
      if (!run) return null;
      await this.scores.missed(manager, run, error.message);
      return { run, type: 'eval.run.failed' };
    });
  }

  /** Writes an item once, while the run is the claim's. False: it is not. */
  async grade({ id, owner }: RunClaim, item: Graded): Promise<boolean> {
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

  /** Once each of its items is graded. */
  async finish({ id, owner }: RunClaim): Promise<void> {
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

  /** Tells of a run that `end` ends. The row of its job comes before its own, as where that is cancelled. */
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

  /** How many chats at once: half of what the project may have at most, the others being its users'. */
  async width(projectId: string, most: number): Promise<number> {
    const [row] = await this.database.query<{ chats: number | null }>(
      `SELECT (limits->>'chats')::int AS chats FROM project WHERE id = $1`,
      [projectId],
    );
    const chats = row?.chats ?? null;
    return chats === null ? most : Math.max(1, Math.min(most, Math.floor(chats / 2)));
  }
}
