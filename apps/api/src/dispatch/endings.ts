import { Injectable } from '@nestjs/common';
import type { DomainError, JobError } from '@graft/contracts';
import type { Stopped } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { History, type NewEvent } from '../events/history.js';
import { Counters } from '../health/counters.js';
import { Outbox } from './outbox.js';
import { verdict } from './retry-policy.js';

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  readonly retryable: boolean;
}

/**
 * Ends of attempts that did not finish. Each runs in a transaction that holds the job row, and each
 * statement names the epoch it ends.
 */
@Injectable()
export class Endings {
  constructor(
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly history: History,
    private readonly settings: Settings,
    private readonly counters: Counters,
  ) {}

  /** Queues the job again where its class and budgets allow, else fails it for good. */
  async failed(manager: EntityManager, job: Job, failure: Failure): Promise<void> {
    const next = verdict(job, failure.code, failure.retryable, this.settings.retryBackoffMs);
    if (next.then === 'fail') {
      const message = next.advice ? `${failure.message} (${next.advice})` : failure.message;
      await this.fail(manager, job, { code: failure.code, message, param: failure.param });
      return;
    }
    await this.requeue(manager, job, {
      outcome: failure.code,
      count: next.count,
      delayMs: next.delayMs,
      message: `${failure.message}; ${sequel(job, next.delayMs)}`,
      level: 'warn',
    });
  }

  /** An attempt that could not even be handed to its worker, for a reason that will not go away. */
  async refused({ id, epoch }: Pick<Job, 'id' | 'epoch'>, error: DomainError): Promise<void> {
    await this.database.transaction(async (manager) => {
      const [job] = await this.database.query<Job>(
        `SELECT * FROM job WHERE id = $1 AND epoch = $2 AND state = 'running' FOR UPDATE`,
        [id, epoch],
        manager,
      );
      const { code, message, param } = error;
      if (job) await this.fail(manager, job, { code, message, param });
    });
  }

  /**
   * The run ended because it was told to: paused as wanted, or handed on by a worker that leaves. It goes on
   * from the newest checkpoint that was committed, which is not where it stopped if that one was never stored.
   */
  async stopped(manager: EntityManager, job: Job, { reason, step }: Stopped): Promise<void> {
    const from = await this.newestCheckpoint(manager, job.id);
    const missing: NewEvent[] =
      from < step
        ? [
            {
              level: 'warn',
              message: `The checkpoint of step ${step} could not be stored; ${goingOnFrom(from)}`,
              data: { step, from_step: from },
            },
          ]
        : [];
    if (job.desired_state === 'pause') {
      await this.database.query(
        `UPDATE job SET state = 'paused', epoch = epoch + 1, lease_owner = NULL, lease_until = NULL,
           phase_code = 'paused', phase_message = 'Paused by the user at step ' || $3::int, step = $3
         WHERE id = $1 AND epoch = $2 AND state = 'running'`,
        [job.id, job.epoch, from],
        manager,
      );
      await this.closeAttempt(manager, job, 'paused');
      await this.history.append(manager, job.id, [
        ...missing,
        { message: `The job was paused at step ${from}`, data: { step: from } },
      ]);
      return;
    }
    await this.history.append(manager, job.id, missing);
    await this.requeue(manager, job, {
      outcome: reason || 'stopped',
      count: 'none',
      delayMs: 0,
      message: `The worker stopped the run (${reason}); going on elsewhere from step ${from}`,
      level: 'info',
    });
  }

  private async newestCheckpoint(manager: EntityManager, jobId: string): Promise<number> {
    const [newest] = await this.database.query<{ step: number }>(
      'SELECT COALESCE(max(step), 0) AS step FROM checkpoint WHERE job_id = $1',
      [jobId],
      manager,
    );
    return newest?.step ?? 0;
  }

  async requeue(
    manager: EntityManager,
    job: Job,
    how: {
      outcome: string;
      count: 'crash' | 'infra' | 'none';
      delayMs: number;
      message: string;
      level: 'info' | 'warn';
    },
  ): Promise<void> {
    const paused = job.desired_state === 'pause';
    await this.database.query(
      `UPDATE job SET state = $3, epoch = epoch + 1, lease_owner = NULL, lease_until = NULL, hint_at = NULL,
         crash_count = crash_count + $4, infra_count = infra_count + $5,
         not_before = clock_timestamp() + $6 * interval '1 millisecond',
         phase_code = $3, phase_message = $7
       WHERE id = $1 AND epoch = $2 AND state = 'running'`,
      [
        job.id,
        job.epoch,
        paused ? 'paused' : 'queued',
        how.count === 'crash' ? 1 : 0,
        how.count === 'infra' ? 1 : 0,
        how.delayMs,
        paused ? 'Paused by the user' : `Waiting for a worker of pool ${job.pool} to go on`,
      ],
      manager,
    );
    await this.closeAttempt(manager, job, how.outcome);
    if (!paused) await this.outbox.write(manager, job.id, how.delayMs);
    await this.history.append(manager, job.id, [{ level: how.level, message: how.message }]);
  }

  private async fail(manager: EntityManager, job: Job, error: JobError): Promise<void> {
    await this.database.query(
      `UPDATE job SET state = 'failed', lease_owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
         error = $3, phase_code = 'failed', phase_message = $4
       WHERE id = $1 AND epoch = $2 AND state = 'running'`,
      [job.id, job.epoch, JSON.stringify(error), error.message.slice(0, 300)],
      manager,
    );
    this.counters.ended('failed', job.started_at);
    await this.closeAttempt(manager, job, error.code);
    await this.history.append(manager, job.id, [
      {
        level: 'error',
        message: `The job failed: ${error.message}`,
        data: { code: error.code, param: error.param },
      },
    ]);
  }

  async closeAttempt(
    manager: EntityManager,
    job: Pick<Job, 'id' | 'epoch'>,
    outcome: string,
  ): Promise<void> {
    await this.database.query(
      'UPDATE attempt SET ended_at = clock_timestamp(), outcome = $3 WHERE job_id = $1 AND epoch = $2 AND ended_at IS NULL',
      [job.id, job.epoch, outcome],
      manager,
    );
  }
}

const goingOnFrom = (step: number): string =>
  step === 0 ? 'going on from the beginning' : `going on from step ${step}`;

/** What follows an attempt that failed, to be read behind the reason. */
function sequel(job: Pick<Job, 'desired_state'>, delayMs: number): string {
  if (job.desired_state === 'pause') return 'the job is paused at its last checkpoint';
  const seconds = Math.round(delayMs / 1000);
  return `going on from the last checkpoint ${seconds === 0 ? 'now' : `in ${seconds} s`}`;
}
