import { Injectable } from '@nestjs/common';
import { Command_Action } from '@graft/contracts/grpc';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import { JobTransitions } from '../lifecycle/job-transitions.js';
import { WorkerLink } from '../relay/worker-link.js';

/** Jobs that are cancelled in one transaction, and transactions of one look: other things wait for its end. */
const BATCH = 100;
const MOST_BATCHES = 20;
/** Runs that are cancelled in one statement: a trigger reads the up to 10,000 items of each. */
const RUNS = 10;

/**
 * Cancels jobs and runs of evals that are open in projects that were archived. Archiving itself cancels the first of
 * them, what runs before what waits; nothing of the rest is given meanwhile, and the reconciler finishes it, also after
 * a server that stopped.
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

  /** Of one project, or of any; answers with how many there were. The runs of a job that is open go with it. */
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
