import { Injectable } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { EvalItem, EvalRun } from '../database/entities/evals.js';
import { jsonbText } from '../database/jsonb.js';
import { newId } from '../ids.js';
import { SweepEnds } from '../lifecycle/sweep-ends.js';
import { CheckpointScore } from './checkpoint-score.js';
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
   * Takes the oldest runs that nobody does, or whose process has not been heard of for a lease; of a project one at a
   * time, so that its own chats, and other projects', have their turns between.
   */
  async take(room: number): Promise<RunClaim[]> {
    if (room <= 0) return [];
    const owner = newId('evalrunner-');
    return this.database.transaction(async (manager) => {
      await this.database.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK], manager);
      return this.database.query<RunClaim>(
        `UPDATE eval_run SET status = 'in_progress', owner = $1,
           owner_until = clock_timestamp() + $2 * interval '1 millisecond'
         WHERE id IN (
           SELECT id FROM (
             SELECT DISTINCT ON (run.project_id) run.id, run.created_at FROM eval_run AS run
             JOIN project ON project.id = run.project_id AND archived_at IS NULL
             WHERE ${FREE}
               AND NOT EXISTS (SELECT 1 FROM eval_run AS other WHERE other.project_id = run.project_id
                 AND other.status = 'in_progress' AND other.owner_until >= clock_timestamp())
             ORDER BY run.project_id, run.created_at, run.id
           ) AS next ORDER BY created_at LIMIT $3) AND ${FREE}
         RETURNING id, owner`,
        [owner, this.settings.leaseMs, room],
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

  /** Once each of its items is graded. The row of its job comes before its own, as where that is cancelled. */
  async finish({ id, owner }: RunClaim): Promise<void> {
    await this.database.transaction(async (manager) => {
      await this.database.query(
        'SELECT 1 FROM job WHERE id = (SELECT job_id FROM eval_run WHERE id = $1) FOR UPDATE',
        [id],
        manager,
      );
      const [run] = await this.database.query<EvalRun>(
        `UPDATE eval_run SET status = 'completed', owner = NULL, owner_until = NULL WHERE ${MINE}
           AND NOT EXISTS (SELECT 1 FROM eval_item WHERE run_id = $1 AND eval_item.status = 'queued')
         RETURNING *`,
        [id, owner],
        manager,
      );
      if (!run) return;
      const { project_id: projectId } = run;
      await this.scores.write(manager, run);
      await this.webhooks.write(manager, { type: 'eval.run.succeeded', projectId, target: id });
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
