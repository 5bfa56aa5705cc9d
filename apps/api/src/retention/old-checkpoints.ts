import { Injectable } from '@nestjs/common';
import { EVAL_SCORE } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

const KEPT_CHECKPOINTS = 3;
/**
 * Maximum number of checkpoints kept for pending evals, newest first. If no worker runs the evals, more would
 * fill the disk.
 */
const MOST_ASKED = 20;
/**
 * Maximum number of older checkpoints per job whose adapter is kept, so that users can ask the model at many steps. The
 * steps of the run are divided into as many parts. The last checkpoint of each part keeps its adapter.
 */
const KEPT_ADAPTERS = 12;
/** Number of jobs per batch. */
const JOBS = 500;

/**
 * SQL of the old checkpoints of jobs $1: which to delete, and which to reduce to their adapter. If a step was saved
 * again, only the checkpoint of the newest attempt counts. Damaged checkpoints are not kept. Reduced checkpoints do not
 * count as the newest ones, because a job that started over may be at an earlier step than they are.
 */
const OLD = `
  WITH newest AS (
    SELECT DISTINCT ON (job_id, step) id, job_id, step, files, adapter, (found."values"->>COALESCE((
        SELECT request->'graft'->>'metric_for_best_model' FROM job WHERE job.id = checkpoint.job_id), 'loss'))::float8 AS loss,
      (found."values"->>'${EVAL_SCORE}')::float8 AS score
    FROM checkpoint LEFT JOIN LATERAL (
      SELECT "values" FROM evaluation WHERE evaluation.job_id = checkpoint.job_id
        AND evaluation.step = checkpoint.step AND evaluation.attempt <= checkpoint.attempt
      ORDER BY evaluation.attempt DESC LIMIT 1) AS found ON true
    WHERE job_id = ANY($1) AND damaged_at IS NULL ORDER BY job_id, step, attempt DESC
  ), ranked AS (
    SELECT id, loss, score, files <> '[]' AS whole,
      row_number() OVER (PARTITION BY job_id, files <> '[]' ORDER BY step DESC) AS age,
      row_number() OVER (PARTITION BY job_id ORDER BY score DESC NULLS LAST,
        CASE WHEN score IS NULL THEN loss END NULLS LAST, CASE WHEN score IS NULL THEN -step ELSE step END) AS place,
      EXISTS (SELECT 1 FROM eval_run WHERE eval_run.job_id = newest.job_id AND eval_run.step = newest.step
        AND status IN ('queued', 'in_progress')) AS asked
    FROM newest
  ), kept AS (SELECT id FROM ranked WHERE (whole AND age <= $2) OR (asked AND age <= ${MOST_ASKED})
    OR (place = 1 AND (score IS NOT NULL OR loss < 'Infinity'))),
  spread AS (
    SELECT DISTINCT ON (job_id, part) newest.id FROM newest JOIN job ON job.id = job_id,
      LATERAL width_bucket(newest.step, 0, GREATEST(total_steps, job.step, newest.step) + 1, ${KEPT_ADAPTERS}) AS part
    WHERE adapter <> '[]' ORDER BY job_id, part, newest.step DESC
  )
  SELECT job_id, COALESCE(array_agg(id) FILTER (WHERE id NOT IN (SELECT id FROM spread)), '{}') AS deleted,
    COALESCE(array_agg(id) FILTER (WHERE id IN (SELECT id FROM spread) AND files <> '[]'), '{}') AS reduced
  FROM checkpoint
  WHERE job_id = ANY($1) AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.id = checkpoint.id) GROUP BY job_id`;

/**
 * SQL of jobs whose checkpoints an eval uses or used in the last 7 days. Checkpoints kept for an ended eval
 * may be deleted.
 */
const ASKED = `
  SELECT job_id FROM eval_run WHERE job_id IS NOT NULL
    AND (status IN ('queued', 'in_progress') OR created_at >= clock_timestamp() - interval '7 days')`;

/** SQL: a checkpoint of the artifact's job, other than those in $2, references the artifact's blob. */
const NAMED_BY_ANOTHER = `
  SELECT 1 FROM blob_ref JOIN checkpoint ON checkpoint.id = blob_ref.owner_id
  WHERE blob_ref.sha256 = artifact.sha256 AND blob_ref.kind = 'checkpoint'
    AND checkpoint.job_id = artifact.job_id AND checkpoint.id <> ALL($2)`;

/** SQL: the artifact belongs to the adapter of a checkpoint in $3. */
const IN_REDUCED = `
  SELECT 1 FROM checkpoint
  WHERE checkpoint.id = ANY($3) AND adapter @> jsonb_build_array(jsonb_build_object('sha256', artifact.sha256))`;

/** Old checkpoints of a job. */
interface Old {
  readonly job_id: string;
  readonly deleted: readonly string[];
  /** Checkpoints of which only the adapter remains. */
  readonly reduced: readonly string[];
}

/**
 * Deletes old checkpoints. For each job it keeps the last three, the best one (by the score of its eval, or
 * else by its validation loss or metric_for_best_model), and those that a pending eval uses. Of up to
 * 12 older ones, spread over the run, it keeps the adapter: they are models, but no job resumes from them. A pass visits
 * only jobs with a checkpoint since the previous pass, and jobs with recent evals.
 */
@Injectable()
export class OldCheckpoints {
  /**
   * Jobs without a checkpoint since this time were visited. By the database's clock, with its microseconds.
   */
  private since = '-infinity';
  /**
   * The pass in progress: the last job that it visited, and the time from which the next pass looks
   * (`anHourAgo`).
   */
  private pass: { after: string; began: string } | null = null;

  constructor(private readonly database: Database) {}

  /**
   * Handles the next jobs of a pass. Returns the number of deleted checkpoints, and whether the pass
   * continues.
   */
  async batch(): Promise<{ deleted: number; more: boolean }> {
    this.pass ??= { after: '', began: await this.anHourAgo() };
    const jobs = await this.database.query<{ job_id: string }>(
      `SELECT DISTINCT job_id FROM checkpoint WHERE (created_at >= $1 OR job_id IN (${ASKED})) AND job_id > $2 ORDER BY job_id LIMIT ${JOBS}`,
      [this.since, this.pass.after],
    );
    const ids = jobs.map((job) => job.job_id);
    const old = await this.database.query<Old>(OLD, [ids, KEPT_CHECKPOINTS]);
    for (const one of old) await this.database.transaction((manager) => this.drop(manager, one));
    const more = ids.length === JOBS;
    if (more) this.pass.after = ids.at(-1) ?? '';
    else {
      this.since = this.pass.began;
      this.pass = null;
    }
    return { deleted: old.reduce((sum, one) => sum + one.deleted.length, 0), more };
  }

  /**
   * An hour is subtracted because a row has the start time of its transaction, and an evaluation may arrive
   * after its checkpoint.
   */
  private async anHourAgo(): Promise<string> {
    const [row] = await this.database.query<{ then: string }>(
      `SELECT (clock_timestamp() - interval '1 hour')::text AS then`,
    );
    if (!row) throw new Error('the database returned no time');
    return row.then;
  }

  /** Deletes and reduces checkpoints under the job's lock, so that none is being added. */
  private async drop(
    manager: EntityManager,
    { job_id: jobId, deleted, reduced }: Old,
  ): Promise<void> {
    await this.database.query('SELECT 1 FROM job WHERE id = $1 FOR UPDATE', [jobId], manager);
    // An artifact stored after the checkpoint belongs to another checkpoint that was not reported yet.
    await this.database.query(
      `DELETE FROM artifact USING checkpoint AS old, blob_ref
       WHERE artifact.job_id = $1 AND old.job_id = $1 AND old.id = ANY($2)
         AND blob_ref.kind = 'checkpoint' AND blob_ref.owner_id = old.id AND blob_ref.sha256 = artifact.sha256
         AND artifact.created_at <= old.created_at AND NOT EXISTS (${NAMED_BY_ANOTHER})
         AND NOT EXISTS (${IN_REDUCED})`,
      [jobId, [...deleted, ...reduced], reduced],
      manager,
    );
    await this.database.query(
      'DELETE FROM checkpoint WHERE job_id = $1 AND id = ANY($2)',
      [jobId, deleted],
      manager,
    );
    await this.database.query(
      `UPDATE checkpoint SET files = '[]' WHERE job_id = $1 AND id = ANY($2)`,
      [jobId, reduced],
      manager,
    );
  }
}
