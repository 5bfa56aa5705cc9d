import { Injectable } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { Attempt, Job } from '../database/entities/job.js';
import { EventLog } from './event-log.js';

/** A running attempt in the process to kill. */
export type InterruptedAttempt = Pick<
  Job,
  'id' | 'project_id' | 'attempt' | 'step' | 'lease_owner'
> &
  Pick<Attempt, 'worker_name'> & {
    readonly process: string;
    /** Step of its newest checkpoint, or 0. */
    readonly resumes_from: number;
  };

/** Person or program that interrupts a job. */
export interface Interrupter {
  readonly name: string;
  readonly projectId: string;
  /** Whether other jobs in the process may be interrupted, too. */
  readonly force: boolean;
}

/**
 * Interruptions on purpose: an administrator has a trainer process killed, to see its jobs resume. The state of the jobs
 * does not change here: the worker reports the end of the process, and AttemptOutcomes queues each job again.
 */
@Injectable()
export class Interruption {
  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
  ) {}

  /**
   * Records who interrupts all attempts in the process of a job, and announces it in their events. Returns the attempts.
   * @throws DomainError if the job does not train, or if others share its process without `force`
   */
  async record(
    manager: EntityManager,
    jobId: string,
    { name, projectId, force }: Interrupter,
  ): Promise<readonly InterruptedAttempt[]> {
    const attempts = await this.inProcessOf(manager, jobId);
    if (attempts.length === 0) throw await this.notTraining(manager, jobId);
    const others = attempts.filter(({ id }) => id !== jobId);
    if (others.length > 0 && !force) throw shared(others, projectId);
    for (const { id, attempt, project_id: owner } of attempts) {
      const by = owner === projectId ? name : 'an administrator';
      await this.database.query(
        'UPDATE attempt SET interrupted_by = $3 WHERE job_id = $1 AND number = $2',
        [id, attempt, by],
        manager,
      );
      const message = `The trainer process is being killed on purpose, by ${by}`;
      await this.events.append(manager, id, [{ level: 'warn', message }]);
    }
    return attempts;
  }

  /** Locks the job and all others in its process, in the order of their ids. Empty if the job does not train. */
  private inProcessOf(manager: EntityManager, jobId: string): Promise<InterruptedAttempt[]> {
    return this.database.query<InterruptedAttempt>(
      `SELECT job.id, job.project_id, job.attempt, job.step, job.lease_owner, attempt.worker_name, attempt.process,
         COALESCE((SELECT max(step) FROM checkpoint WHERE job_id = job.id AND damaged_at IS NULL AND files <> '[]'), 0) AS resumes_from
       FROM attempt AS target JOIN attempt ON attempt.process = target.process AND attempt.worker_id = target.worker_id
         JOIN job ON job.id = attempt.job_id AND job.attempt = attempt.number
       WHERE target.job_id = $1 AND target.ended_at IS NULL AND attempt.ended_at IS NULL AND job.state = 'running'
       ORDER BY job.id FOR UPDATE OF job`,
      [jobId],
      manager,
    );
  }

  private async notTraining(manager: EntityManager, jobId: string): Promise<DomainError> {
    const [job] = await this.database.query<Pick<Job, 'state'>>(
      'SELECT state FROM job WHERE id = $1',
      [jobId],
      manager,
    );
    const why =
      job?.state === 'running'
        ? 'has no trainer process yet; try again when it trains'
        : `is ${job?.state}: only a running job can be interrupted`;
    return new DomainError('invalid_state', `job ${jobId} ${why}`, 'fine_tuning_job_id');
  }
}

function shared(others: readonly InterruptedAttempt[], projectId: string): DomainError {
  const own = others.filter((one) => one.project_id === projectId).map(({ id }) => id);
  const foreign = others.length - own.length;
  const those = [...own, ...(foreign > 0 ? [`${foreign} of other projects`] : [])].join(', ');
  return new DomainError(
    'conflict',
    `${others.length} other ${others.length === 1 ? 'job trains' : 'jobs train'} in the same process (${those}) and would also resume from the last checkpoint; set force to interrupt them, too`,
    'force',
  );
}
