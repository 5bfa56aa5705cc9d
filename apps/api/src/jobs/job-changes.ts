import { Injectable } from '@nestjs/common';
import {
  DomainError,
  parseBody,
  TERMINAL_STATUSES,
  UpdateJob,
  type DeletedJobObject,
  type JobObject,
} from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { IS_OPEN, isRestorable, restorableText, type Job } from '../database/entities/job.js';
import { jsonbText } from '../database/jsonb.js';
import { fineTunedName } from '../history/history-objects.js';
import { restorableUntil } from '../history/job-object.js';
import { JobsRepository, noSuchJob } from '../history/jobs.repository.js';
import { EventLog } from '../lifecycle/event-log.js';
import { priorityWithin } from '../lifecycle/lease/quotas.js';
import { PoolTerms } from '../preview/pool-terms.js';

/** Changes to a job that do not affect training: metadata, priority, archiving, deletion and restore. */
@Injectable()
export class JobChanges {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly pools: PoolTerms,
    private readonly events: EventLog,
    private readonly audit: Audit,
    private readonly settings: Settings,
  ) {}

  async update(caller: Principal, id: string, body: unknown): Promise<JobObject> {
    const { metadata, graft = {} } = parseBody(UpdateJob, body);
    const given = { ...(metadata === undefined ? {} : { metadata }), ...graft };
    const values: unknown[] = [id];
    const value = (one: unknown): string => `$${values.push(one)}`;
    const set = ['updated_at = clock_timestamp()'];
    if (metadata !== undefined)
      set.push(`metadata = ${value(metadata && jsonbText(metadata))}::jsonb`);
    if (graft.name !== undefined) set.push(`name = ${value(graft.name)}`);
    if (graft.note !== undefined) set.push(`note = ${value(graft.note || null)}`);
    if (graft.tags !== undefined)
      set.push(`tags = ${value(jsonbText([...new Set(graft.tags)]))}::jsonb`);
    if (graft.archived !== undefined)
      set.push(
        `archived_at = ${graft.archived ? 'COALESCE(archived_at, clock_timestamp())' : 'NULL'}`,
      );
    const row = await this.jobs.row(caller.projectId, id);
    if (graft.priority !== undefined) {
      const { limits } = await this.pools.of(caller.projectId, row.pool, 'graft.pool');
      const priority = priorityWithin(caller.projectId, limits, graft.priority);
      set.push(`priority = ${value(priority)}`);
    }
    await this.database.transaction(async (manager) => {
      const job = await this.jobs.locked(manager, caller.projectId, id);
      if (graft.priority !== undefined)
        await this.appendPriorityEvent(manager, job, graft.priority);
      await this.database.query(`UPDATE job SET ${set.join(', ')} WHERE id = $1`, values, manager);
      await this.recordChange(manager, caller, job, 'job.updated', { changed: Object.keys(given) });
    });
    return this.jobs.object(caller.projectId, id);
  }

  /**
   * Appends an event about a new priority.
   * @throws DomainError if the job has ended
   */
  private async appendPriorityEvent(
    manager: EntityManager,
    job: Job,
    priority: number,
  ): Promise<void> {
    if (job.priority === priority) return;
    if (TERMINAL_STATUSES.includes(job.state))
      throw new DomainError(
        'invalid_state',
        `job ${job.id} is ${job.state}; only the priority of an unfinished job can be changed`,
        'graft.priority',
      );
    const message = `Priority changed from ${job.priority} to ${priority}`;
    await this.events.append(manager, job.id, [{ message }]);
  }

  /**
   * Deletes a job with its checkpoints, model and result files. They are hidden immediately and removed
   * after the restore period.
   */
  async remove(caller: Principal, id: string): Promise<DeletedJobObject> {
    await this.jobs.row(caller.projectId, id);
    const at = await this.database.transaction(async (manager) => {
      const job = await this.jobs.locked(manager, caller.projectId, id, { deleted: true });
      // an earlier run of the transaction may have committed before its connection was lost
      if (job.deleted_at) {
        this.events.announce(id, job.project_id);
        return job.deleted_at;
      }
      await this.rejectInUse(manager, job);
      const [deleted] = await this.database.query<{ deleted_at: Date }>(
        `UPDATE job SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = $1 RETURNING deleted_at`,
        [id],
        manager,
      );
      if (!deleted) throw new Error(`the database has no row for job ${id}`);
      await this.mark(manager, job, deleted.deleted_at);
      await this.recordChange(manager, caller, job, 'job.deleted');
      return deleted.deleted_at;
    });
    const graft = { restorable_until: restorableUntil(at, this.settings.restoreDays) };
    return { id, object: 'fine_tuning.job', deleted: true, graft };
  }

  /** Restores everything that the deletion of a job hid. Does nothing if the job is not deleted. */
  async restore(caller: Principal, id: string): Promise<JobObject> {
    await this.jobs.row(caller.projectId, id, { deleted: true });
    await this.database.transaction(async (manager) => {
      const job = await this.jobs.locked(manager, caller.projectId, id, { deleted: true });
      if (!job.deleted_at) return this.events.announce(id, job.project_id);
      const [restored] = await this.database.query(
        `UPDATE job SET deleted_at = NULL, updated_at = clock_timestamp()
         WHERE id = $1 AND ${isRestorable(this.settings.restoreDays)} RETURNING id`,
        [id],
        manager,
      );
      // some of its rows may already be removed
      if (!restored) throw noSuchJob(id);
      await this.mark(manager, job, null);
      await this.recordChange(manager, caller, job, 'job.restored');
    });
    return this.jobs.object(caller.projectId, id);
  }

  /** Marks the model and result files of a job as deleted or restored. */
  private async mark(manager: EntityManager, job: Job, deleted: Date | null): Promise<void> {
    await this.database.query(
      'UPDATE model SET deleted_at = $2 WHERE id = $3 AND job_id = $1',
      [job.id, deleted, job.fine_tuned_model],
      manager,
    );
    await this.database.query(
      'UPDATE file SET deleted_at = $2 WHERE id = ANY($3) AND job_id = $1',
      [job.id, deleted, job.result_files],
      manager,
    );
  }

  private async rejectInUse(manager: EntityManager, job: Job): Promise<void> {
    const reject = (why: string): never => {
      throw new DomainError('conflict', `${job.id} ${why}`, 'fine_tune_id');
    };
    if (!TERMINAL_STATUSES.includes(job.state)) reject(`is ${job.state}; cancel it first`);
    const [open] = await this.database.query<{ id: string }>(
      `SELECT id FROM job WHERE sweep_id = $1 AND ${IS_OPEN} LIMIT 1`,
      [job.sweep_id],
      manager,
    );
    if (open)
      reject(
        `is a trial of ${job.sweep_id}, whose trial ${open.id} has not finished; cancel the sweep or wait`,
      );
    // Lock the model first. The creation of a job on a full fine-tuned model takes the same lock.
    await this.database.query(
      'SELECT 1 FROM model WHERE id = $1 FOR UPDATE',
      [job.fine_tuned_model],
      manager,
    );
    const [user] = await this.database.query<{ what: string }>(
      `SELECT 'job ' || id AS what FROM job
         WHERE project_id = $1 AND ${IS_OPEN} AND strpos(request::text, $3) > 0
       UNION ALL SELECT 'model ' || id || ${restorableText(this.settings.restoreDays)} FROM model WHERE base_id = $4 AND kind <> 'export'
       UNION ALL SELECT 'eval run ' || id FROM eval_run
         WHERE project_id = $1 AND status IN ('queued', 'in_progress') AND (job_id = $2 OR starts_with(model, $5))
       LIMIT 1`,
      [
        job.project_id,
        job.id,
        // JSON-escaped name, to find it as model, init_adapter or one of several adapters
        JSON.stringify(fineTunedName(job)).slice(1, -1),
        job.fine_tuned_model,
        fineTunedName(job),
      ],
      manager,
    );
    if (user) reject(`is in use by ${user.what}`);
  }

  /** Writes an audit entry in the transaction of the change and notifies streams after the commit. */
  private async recordChange(
    manager: EntityManager,
    caller: Principal,
    { id, project_id: project }: Job,
    action: 'job.updated' | 'job.deleted' | 'job.restored',
    detail: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    await this.audit.write(manager, { caller, action, target: id, detail });
    this.events.announce(id, project);
  }
}
