import { Injectable } from '@nestjs/common';
import { Command_Action } from '@graft/contracts/grpc';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import { JobTransitions } from '../lifecycle/job-transitions.js';
import { WorkerLink } from '../relay/worker-link.js';

/** Limits of one pass, so that other work is not delayed: jobs canceled in one transaction, and transactions. */
const BATCH = 100;
const MOST_BATCHES = 20;
/** Eval runs canceled in one statement. A trigger reads up to 10,000 items for each. */
const RUNS = 10;

/**
 * Cancels open jobs and eval runs of archived projects. Archiving itself cancels the first of them, running before
 * queued ones. None of the others is started meanwhile, and the reconciler cancels them, also after a restart of the
 * server.
 */
@Injectable()
export class ArchivedProjects {
  constructor(
    private readonly database: Database,
    private readonly transitions: JobTransitions,
    private readonly link: WorkerLink,
  ) {}

  async finish(): Promise<void> {
    for (let n = 0; n < MOST_BATCHES; n++) if ((await this.cancelJobs(null)) < BATCH) break;
    for (let n = 0; n < MOST_BATCHES; n++) if ((await this.cancelRuns(null)) < RUNS) break;
  }

  async cancelSome(projectId: string): Promise<void> {
    await this.cancelJobs(projectId);
    await this.cancelRuns(projectId);
  }

  /**
   * Cancels eval runs of one project or of all; returns their number. Runs of an open job are canceled with the job.
   */
  private async cancelRuns(projectId: string | null): Promise<number> {
    const cancelled = await this.database.query(
      `UPDATE eval_run SET status = 'canceled', owner = NULL, owner_until = NULL
       WHERE id IN (
         SELECT run.id FROM eval_run AS run
         WHERE run.status IN ('queued', 'in_progress') AND ($1::text IS NULL OR run.project_id = $1)
           AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = run.job_id AND job.${IS_OPEN})
           AND EXISTS (SELECT 1 FROM project WHERE project.id = run.project_id AND archived_at IS NOT NULL)
         ORDER BY run.status = 'in_progress' DESC, run.id LIMIT ${RUNS} FOR UPDATE OF run SKIP LOCKED)
       RETURNING id`,
      [projectId],
    );
    return cancelled.length;
  }

  private async cancelJobs(projectId: string | null): Promise<number> {
    const cancelled = await this.database.transaction(async (manager) => {
      const jobs = await this.database.query<Job>(
        `SELECT job.* FROM job WHERE job.${IS_OPEN} AND ($1::text IS NULL OR job.project_id = $1)
           AND EXISTS (SELECT 1 FROM project WHERE project.id = job.project_id AND archived_at IS NOT NULL)
         ORDER BY job.state = 'running' DESC, job.id LIMIT ${BATCH} FOR UPDATE OF job`,
        [projectId],
        manager,
      );
      for (const job of jobs) await this.transitions.cancel(manager, job);
      return jobs;
    });
    for (const job of cancelled)
      if (job.state === 'running') void this.link.command(job, Command_Action.ACTION_CANCEL);
    return cancelled.length;
  }
}
