import { Injectable } from '@nestjs/common';
import { EVAL_SCORE } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

const KEPT_CHECKPOINTS = 3;
/** Of those that an eval is to ask, the newest: where nobody answers it, they would fill the disk. */
const MOST_ASKED = 20;
/** Jobs that one look takes. */
const JOBS = 500;

/** Of jobs $1: a step saved again is one checkpoint, the newest attempt's; a damaged one is worth nothing. */
const OLD = `
  WITH newest AS (
    SELECT DISTINCT ON (job_id, step) id, job_id, step, (found."values"->>COALESCE((
        SELECT request->'graft'->>'metric_for_best_model' FROM job WHERE job.id = checkpoint.job_id), 'loss'))::float8 AS loss,
      (found."values"->>'${EVAL_SCORE}')::float8 AS score
    FROM checkpoint LEFT JOIN LATERAL (
      SELECT "values" FROM evaluation WHERE evaluation.job_id = checkpoint.job_id
        AND evaluation.step = checkpoint.step AND evaluation.attempt <= checkpoint.attempt
      ORDER BY evaluation.attempt DESC LIMIT 1) AS found ON true
    WHERE job_id = ANY($1) AND damaged_at IS NULL ORDER BY job_id, step, attempt DESC
  ), ranked AS (
    SELECT id, loss, score, row_number() OVER (PARTITION BY job_id ORDER BY step DESC) AS age,
      row_number() OVER (PARTITION BY job_id ORDER BY score DESC NULLS LAST,
        CASE WHEN score IS NULL THEN loss END NULLS LAST, CASE WHEN score IS NULL THEN -step ELSE step END) AS place,
      EXISTS (SELECT 1 FROM eval_run WHERE eval_run.job_id = newest.job_id AND eval_run.step = newest.step
        AND status IN ('queued', 'in_progress')) AS asked
    FROM newest
  ), kept AS (SELECT id FROM ranked WHERE age <= $2 OR (asked AND age <= ${MOST_ASKED})
    OR (place = 1 AND (score IS NOT NULL OR loss < 'Infinity')))
  SELECT job_id, array_agg(id) AS ids FROM checkpoint
  WHERE job_id = ANY($1) AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.id = checkpoint.id) GROUP BY job_id`;

/** Jobs whose checkpoints an eval asks, or has asked of late: what was kept for it may go. */
const ASKED = `
  SELECT job_id FROM eval_run WHERE job_id IS NOT NULL
    AND (status IN ('queued', 'in_progress') OR created_at >= clock_timestamp() - interval '7 days')`;

/** A checkpoint other than $2 of the artifact's job names the artifact's blob. */
const NAMED_BY_ANOTHER = `
  SELECT 1 FROM blob_ref JOIN checkpoint ON checkpoint.id = blob_ref.owner_id
  WHERE blob_ref.sha256 = artifact.sha256 AND blob_ref.kind = 'checkpoint'
    AND checkpoint.job_id = artifact.job_id AND checkpoint.id <> ALL($2)`;

/**
 * Deletes of each job all checkpoints but the last three, the best by its eval's score or else its validation loss or metric_for_best_model, and
 * those that are being asked by an eval. Looks only at jobs that have got one since the last pass over all.
 */
@Injectable()
export class OldCheckpoints {
  /** Jobs without a checkpoint since then have been looked at. By the database's clock, with its microseconds. */
  private since = '-infinity';
  /** The pass that goes on: the last job it came to, and when it began. */
  private pass: { after: string; began: string } | null = null;

  constructor(private readonly database: Database) {}

  /** The next jobs of a pass; answers with how many went, and whether the pass goes on. */
  async batch(): Promise<{ deleted: number; more: boolean }> {
    this.pass ??= { after: '', began: await this.anHourAgo() };
    const jobs = await this.database.query<{ job_id: string }>(
      `SELECT DISTINCT job_id FROM checkpoint WHERE (created_at >= $1 OR job_id IN (${ASKED})) AND job_id > $2 ORDER BY job_id LIMIT ${JOBS}`,
      [this.since, this.pass.after],
    );
    const ids = jobs.map((job) => job.job_id);
    const old = await this.database.query<{ job_id: string; ids: string[] }>(OLD, [
      ids,
      KEPT_CHECKPOINTS,
    ]);
    for (const one of old)
      await this.database.transaction((manager) => this.drop(manager, one.job_id, one.ids));
    const more = ids.length === JOBS;
    if (more) this.pass.after = ids.at(-1) ?? '';
    else {
      this.since = this.pass.began;
      this.pass = null;
    }
    return { deleted: old.reduce((sum, one) => sum + one.ids.length, 0), more };
  }

  /** A row shows its transaction's beginning, and an evaluation may come after its checkpoint. */
  private async anHourAgo(): Promise<string> {
    const [row] = await this.database.query<{ then: string }>(
      `SELECT (clock_timestamp() - interval '1 hour')::text AS then`,
    );
    if (!row) throw new Error('the database returned no time');
    return row.then;
  }

  /** Under the job's lock, so that no checkpoint is being added. */
  private async drop(manager: EntityManager, jobId: string, ids: readonly string[]): Promise<void> {
    await this.database.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [jobId], manager);
    // What was put again after its checkpoint belongs to another that is still on its way.
    await this.database.query(
      `DELETE FROM artifact USING checkpoint AS old, blob_ref
       WHERE artifact.job_id = $1 AND old.job_id = $1 AND old.id = ANY($2)
         AND blob_ref.kind = 'checkpoint' AND blob_ref.owner_id = old.id AND blob_ref.sha256 = artifact.sha256
         AND artifact.created_at <= old.created_at AND NOT EXISTS (${NAMED_BY_ANOTHER})`,
      [jobId, ids],
      manager,
    );
    await this.database.query(
      'DELETE FROM checkpoint WHERE job_id = $1 AND id = ANY($2)',
      [jobId, ids],
      manager,
    );
  }
}
