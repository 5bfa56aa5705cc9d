import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { isRestorable, type Job } from '../database/entities/job.js';
import { IS_DUE } from '../database/entities/tenancy.js';
import { fineTunedName } from '../history/history-objects.js';
import { log } from '../log.js';

/** Maximum number of jobs per batch, since each may have a hundred thousand events. */
const JOBS = 20;
/** Maximum number of rows per statement. Deleting a million would exceed the time limit of a statement. */
const ROWS = 2000;
/**
 * Tables whose rows name a job in job_id. Eval runs lose their samples (dropSamples) and keep their scores.
 */
const OF_JOB = [
  'event',
  'metric',
  'evaluation',
  'checkpoint',
  'artifact',
  'attempt',
  'integration_run',
  'trace_export',
  'sweep_rung',
  'idempotency',
  'outbox',
  'dead_letter',
];

type Deleted = Pick<
  Job,
  | 'id'
  | 'state'
  | 'sweep_id'
  | 'fine_tuned_model'
  | 'result_files'
  | 'base_id'
  | 'project_id'
  | 'suffix'
>;

/**
 * Deletes the jobs that can no longer be restored. Retention deletes their blobs once no row references them.
 */
@Injectable()
export class DeletedJobs implements OnModuleDestroy {
  /** Jobs that could not be deleted. They are retried after all others. */
  private readonly stuck = new Set<string>();
  private closing = false;

  /** SQL condition that a job can no longer be restored. */
  private readonly isPast: string;

  constructor(
    private readonly database: Database,
    settings: Settings,
  ) {
    this.isPast = `deleted_at IS NOT NULL AND NOT ${isRestorable(settings.restoreDays)}`;
  }

  /** Deletes some jobs. Returns how many were deleted, and whether there may be more. */
  async batch(): Promise<{ deleted: number; more: boolean }> {
    const jobs = await this.database.query<{ id: string }>(
      `SELECT id FROM job WHERE ${this.isPast} AND id <> ALL($1) ORDER BY deleted_at LIMIT ${JOBS}`,
      [[...this.stuck]],
    );
    for (const { id } of jobs) await this.drop(id);
    const failed = jobs.filter(({ id }) => this.stuck.has(id)).length;
    const more = jobs.length === JOBS;
    if (!more) this.stuck.clear();
    return { deleted: jobs.length - failed, more };
  }

  /** Deletes some jobs of a project that is being deleted. Returns how many it found. */
  async ofProject(projectId: string): Promise<number> {
    const jobs = await this.database.query<{ id: string }>(
      `SELECT id FROM job WHERE project_id = $1 LIMIT ${JOBS}`,
      [projectId],
    );
    for (const { id } of jobs) if (!this.closing) await this.dropAll(id);
    return jobs.length;
  }

  onModuleDestroy(): void {
    this.closing = true;
  }

  private async drop(id: string): Promise<void> {
    try {
      await this.dropAll(id);
    } catch (error) {
      this.stuck.add(id);
      log.warn({ err: error, job: id }, 'could not permanently delete a job; retrying later');
    }
  }

  private async dropAll(id: string): Promise<void> {
    for (const table of OF_JOB)
      while (await this.dropRows(table, id)) {
        // The next process deletes the rest of this job.
        if (this.closing) return;
      }
    await this.database.transaction((manager) => this.dropRest(manager, id));
  }

  /** Deletes some rows of a job. Returns whether there may be more. */
  private dropRows(table: string, id: string): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      if (!(await this.past(manager, id))) return false;
      const [gone] = await this.database.query<{ rows: number }>(
        `WITH gone AS (DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
           SELECT ctid FROM ${table} WHERE job_id = $1 LIMIT ${ROWS})) RETURNING 1)
         SELECT count(*)::int AS rows FROM gone`,
        [id],
        manager,
      );
      return gone?.rows === ROWS;
    });
  }

  /**
   * Locks the job and returns it if it should be deleted: it can no longer be restored, or its project is
   * being deleted. A job that was restored in the meantime is kept.
   */
  private async past(manager: EntityManager, id: string): Promise<Deleted | null> {
    const [job] = await this.database.query<Deleted>(
      `SELECT id, state, sweep_id, fine_tuned_model, result_files, base_id, project_id, suffix FROM job WHERE id = $1
         AND ((${this.isPast}) OR project_id IN (SELECT id FROM project WHERE ${IS_DUE})) FOR UPDATE`,
      [id],
      manager,
    );
    return job ?? null;
  }

  private async dropRest(manager: EntityManager, id: string): Promise<void> {
    const job = await this.past(manager, id);
    if (!job) return;
    // Rows may have been added since the last batch.
    for (const table of OF_JOB)
      await this.database.query(`DELETE FROM ${table} WHERE job_id = $1`, [id], manager);
    await this.database.query(
      'DELETE FROM model WHERE id = $2 AND job_id = $1',
      [id, job.fine_tuned_model],
      manager,
    );
    await this.database.query(
      'DELETE FROM file WHERE id = ANY($2) AND job_id = $1',
      [id, job.result_files],
      manager,
    );
    await this.dropSamples(manager, job);
    const { sweep_id: sweep, state } = job;
    await this.database.query(
      'UPDATE sweep SET gone = gone || to_jsonb($2::text) WHERE id = $1 AND NOT gone ? $2',
      [sweep, state],
      manager,
    );
    await this.database.query('DELETE FROM job WHERE id = $1', [id], manager);
  }

  /** Deletes the samples of evals of the job's model and its checkpoints. */
  private async dropSamples(manager: EntityManager, job: Deleted): Promise<void> {
    // The name of a checkpoint is the model's name, ':' and its step. ';' is the character after ':'. If the
    // project is being deleted, its eval runs are deleted with it.
    await this.database.query(
      `UPDATE eval_run SET samples_deleted_at = clock_timestamp(), to_erase = true
       WHERE project_id = $1 AND samples_deleted_at IS NULL
         AND (job_id = $2 OR model COLLATE "C" >= $3 AND model COLLATE "C" < $3 || ';')
         AND NOT EXISTS (SELECT 1 FROM project WHERE id = $1 AND ${IS_DUE})`,
      [job.project_id, job.id, fineTunedName(job)],
      manager,
    );
  }
}
