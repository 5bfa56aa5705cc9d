import { Injectable } from '@nestjs/common';
import type { BatchProblem, BatchStatus, DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import type { Claim } from '../claims/claimed-work.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Batch, IS_OPEN_BATCH } from '../database/entities/batches.js';
import { jsonbText } from '../database/jsonb.js';
import { newId } from '../ids.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';

/** Line of an output or error file, and the tokens that it used. */
export interface LineResult {
  readonly number: number;
  readonly isError: boolean;
  readonly line: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Key of an advisory lock. It can be any number that is unique in this database. */
const ADVISORY_LOCK = 7_240_263;

/** SQL condition that the claim still holds ($1 is the batch, $2 the owner). */
const MINE = `id = $1 AND owner = $2 AND ${IS_OPEN_BATCH}`;
/** SQL condition that no process works on the batch. */
const FREE = `${IS_OPEN_BATCH} AND (owner IS NULL OR owner_until < clock_timestamp())`;

/** SQL for the columns of a batch that gets a status. */
export const setStatus = (status: BatchStatus): string =>
  `status = '${status}', times = times ||
     jsonb_build_object('${status}_at', floor(EXTRACT(EPOCH FROM clock_timestamp()))::bigint)`;

/** SQL for the columns of a batch that no process works on any more. */
const RELEASED = `owner = NULL, owner_until = NULL, waits_for = NULL, waiting_since = NULL`;

/** Maximum number of rows per statement. */
const ROWS = 2000;

/**
 * Claims of processes on batches. Every write checks the claim, so that it has no effect after another process has taken
 * over. All times are by the database's clock.
 */
@Injectable()
export class BatchClaims {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly webhooks: WebhookEvents,
  ) {}

  /** Claims batches that no process works on. Projects take turns; so do the batches of a project. */
  async take(most: number): Promise<Claim[]> {
    if (most <= 0) return [];
    return this.database.transaction(async (manager) => {
      await this.database.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK], manager);
      return this.database.query<Claim>(
        `UPDATE batch SET owner = $1, taken_at = clock_timestamp(), resume_at = NULL,
           owner_until = clock_timestamp() + $2 * interval '1 millisecond'
         WHERE id IN (
           SELECT id FROM (
             SELECT free.id, COALESCE(free.taken_at, free.created_at) AS since,
               row_number() OVER (PARTITION BY free.project_id ORDER BY COALESCE(free.taken_at, free.created_at), free.id)
                 + (SELECT count(*) FROM batch AS other WHERE other.project_id = free.project_id
                      AND other.owner_until >= clock_timestamp()) AS turn
             FROM batch AS free JOIN project ON project.id = free.project_id AND archived_at IS NULL
             WHERE ${FREE} AND (resume_at IS NULL OR LEAST(resume_at, expires_at) <= clock_timestamp())
           ) AS next ORDER BY turn, since LIMIT $3) AND ${FREE}
         RETURNING id, owner`,
        [newId('batcher-'), this.settings.leaseMs, most],
        manager,
      );
    });
  }

  /** Returns the batch, or null if the claim no longer holds. */
  async row({ id, owner }: Claim): Promise<Batch | null> {
    return this.database.manager
      .getRepository(Batch)
      .createQueryBuilder('batch')
      .where(`id = :id AND owner = :owner AND ${IS_OPEN_BATCH}`, { id, owner })
      .getOne();
  }

  async renew({ id, owner }: Claim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE batch SET owner_until = clock_timestamp() + $3 * interval '1 millisecond'
       WHERE ${MINE} RETURNING id`,
      [id, owner, this.settings.leaseMs],
    );
    return rows.length > 0;
  }

  async release({ id, owner }: Claim): Promise<void> {
    await this.database.query(`UPDATE batch SET owner = NULL, owner_until = NULL WHERE ${MINE}`, [
      id,
      owner,
    ]);
  }

  /** Starts a validated batch. */
  async start(
    { id, owner }: Claim,
    { total, model }: Pick<Batch, 'total' | 'model'>,
  ): Promise<void> {
    await this.database.query(
      `UPDATE batch SET ${setStatus('in_progress')}, total = $3, model = $4
       WHERE ${MINE} AND status = 'validating'`,
      [id, owner, total, model],
    );
  }

  /** Ends a batch whose input file is wrong. */
  async fail({ id, owner }: Claim, problems: readonly BatchProblem[]): Promise<void> {
    await this.database.transaction(async (manager) => {
      const [failed] = await this.database.query<Batch>(
        `UPDATE batch SET ${setStatus('failed')}, errors = $3::jsonb, ${RELEASED}
         WHERE ${MINE} AND status = 'validating' RETURNING *`,
        [id, owner, jsonbText(problems)],
        manager,
      );
      if (failed) await this.announce(manager, failed);
    });
  }

  /** Milliseconds until the batch expires, at least 0. */
  async millisecondsLeft({ id }: Claim): Promise<number> {
    const [row] = await this.database.query<{ left: number }>(
      `SELECT GREATEST(0, EXTRACT(EPOCH FROM expires_at - clock_timestamp()))::float8 * 1000 AS left
       FROM batch WHERE id = $1`,
      [id],
    );
    return row?.left ?? 0;
  }

  /** Numbers of the lines that have a result. */
  async done({ id }: Claim): Promise<Set<number>> {
    const rows = await this.database.query<{ number: number }>(
      'SELECT number FROM batch_result WHERE batch_id = $1',
      [id],
    );
    return new Set(rows.map(({ number }) => number));
  }

  /** Stores the result of a line, once. Returns false if the claim no longer holds. */
  async store({ id, owner }: Claim, result: LineResult): Promise<boolean> {
    const { number, isError, line, inputTokens, outputTokens } = result;
    return this.database.transaction(async (manager) => {
      const mine = await this.database.query(
        `SELECT 1 FROM batch WHERE ${MINE} AND status = 'in_progress' FOR UPDATE`,
        [id, owner],
        manager,
      );
      if (mine.length === 0) return false;
      await this.database.query(
        `WITH added AS (INSERT INTO batch_result (batch_id, number, is_error, line) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING RETURNING is_error)
         UPDATE batch SET completed = completed + (NOT is_error)::int, failed = failed + is_error::int,
           input_tokens = input_tokens + $5, output_tokens = output_tokens + $6,
           waiting_since = NULL, waits_for = NULL
         FROM added WHERE id = $1`,
        [id, number, isError, line, inputTokens, outputTokens],
        manager,
      );
      return true;
    });
  }

  /**
   * Releases the batch until it can be tried again, after a delay that grows with the time that it has waited: up to 3
   * seconds if workers are full, or else up to half a minute.
   * @returns the delay in milliseconds, or null if the claim no longer holds
   */
  async wait({ id, owner }: Claim, { code, message }: DomainError): Promise<number | null> {
    const [row] = await this.database.query<{ pause: number }>(
      `UPDATE batch SET owner = NULL, owner_until = NULL, waits_for = $3,
         waiting_since = COALESCE(waiting_since, clock_timestamp()),
         resume_at = clock_timestamp() + (0.5 + random()) * LEAST($4 * interval '1 second', GREATEST(interval '250 ms',
           (clock_timestamp() - COALESCE(waiting_since, clock_timestamp())) / 4))
       WHERE ${MINE} AND status = 'in_progress'
       RETURNING EXTRACT(EPOCH FROM resume_at - clock_timestamp())::float8 * 1000 AS pause`,
      [id, owner, message, code === 'queue_full' ? 2 : 20],
    );
    return row?.pause ?? null;
  }

  /** Begins to write the results, if every line has one or the batch has expired. */
  async finalize({ id, owner }: Claim): Promise<void> {
    await this.database.query(
      `UPDATE batch SET ${setStatus('finalizing')} WHERE ${MINE} AND status = 'in_progress'
         AND (completed + failed >= total OR expires_at <= clock_timestamp())`,
      [id, owner],
    );
  }

  /** Records a file with results. Returns false if the claim no longer holds. */
  async setFile(
    manager: EntityManager,
    { id, owner }: Claim,
    column: 'output_file' | 'error_file',
    file: string,
  ): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE batch SET ${column} = $3 WHERE ${MINE} AND status IN ('finalizing', 'cancelling') RETURNING id`,
      [id, owner, file],
      manager,
    );
    return rows.length > 0;
  }

  /** Deletes the results, which are in files now, and ends the batch. Lines without a result have expired. */
  async end(claim: Claim, status: 'completed' | 'expired' | 'cancelled'): Promise<void> {
    const { id, owner } = claim;
    for (let deleted = ROWS; deleted === ROWS;) deleted = await this.deleteResults(claim);
    await this.database.transaction(async (manager) => {
      const [ended] = await this.database.query<Batch>(
        `UPDATE batch SET ${setStatus(status)}, ${RELEASED}
         WHERE ${MINE} AND status IN ('finalizing', 'cancelling') RETURNING *`,
        [id, owner],
        manager,
      );
      if (ended) await this.announce(manager, ended);
    });
  }

  /** Deletes some results. Returns how many. */
  private async deleteResults({ id, owner }: Claim): Promise<number> {
    const [gone] = await this.database.query<{ rows: number }>(
      `WITH mine AS (SELECT id FROM batch WHERE ${MINE} AND status IN ('finalizing', 'cancelling')), gone AS (
         DELETE FROM batch_result WHERE ctid = ANY(ARRAY(
           SELECT ctid FROM batch_result WHERE batch_id IN (SELECT id FROM mine) LIMIT ${ROWS})) RETURNING 1)
       SELECT count(*)::int AS rows FROM gone`,
      [id, owner],
    );
    return gone?.rows ?? 0;
  }

  private announce(
    manager: EntityManager,
    { id, project_id: projectId, status }: Pick<Batch, 'id' | 'project_id' | 'status'>,
  ): Promise<void> {
    const type = `batch.${status as 'completed' | 'expired' | 'cancelled' | 'failed'}` as const;
    return this.webhooks.write(manager, { type, projectId, target: id });
  }
}
