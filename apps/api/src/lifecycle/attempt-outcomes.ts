import { Injectable } from '@nestjs/common';
import type { Blame, DomainError, PayloadOf } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { DEPENDENCIES, type Dependency } from '../faults.js';
import { Counters } from '../metrics/counters.js';
import { AttemptTransitions, PREEMPTED } from './attempt-transitions.js';
import { runsAlone } from './blame.js';
import { EventLog, type NewEvent } from './event-log.js';
import { LemonWorkers } from './lease/lemon-workers.js';
import { verdict } from './retry-policy.js';

/** Outcome of an attempt that could not be prepared while a part of the service was unavailable. */
const NOT_PREPARED = 'not_prepared';
const MOST_PUT_OFF_MS = 60_000;

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  readonly retryable: boolean;
  /** Blame for the end of the trainer process, if it died. */
  readonly blame?: Blame;
  /** Name of the trainer process that died. */
  readonly process?: string;
}

/**
 * Decides which transition follows an attempt that did not finish. Each method works in a transaction that
 * holds the lock on the job's row.
 */
@Injectable()
export class AttemptOutcomes {
  constructor(
    private readonly database: Database,
    private readonly transitions: AttemptTransitions,
    private readonly events: EventLog,
    private readonly settings: Settings,
    private readonly counters: Counters,
    private readonly lemons: LemonWorkers,
  ) {}

  /** Queues the job again if the failure's class and the job's budgets allow it; fails it otherwise. */
  async retryOrFail(manager: EntityManager, job: Job, failure: Failure): Promise<void> {
    const { blame = null, retryable } = failure;
    const process = failure.process || null;
    const death = { blame, process };
    // A failure that another job caused is not reported as this job's failure.
    const code = blame === 'other' ? 'displaced' : failure.code;
    const next = verdict(job, { code, retryable, blame }, this.settings.retryBackoffMs);
    const { lease_owner: worker } = job;
    if (next.then === 'fail') {
      const message = next.advice ? `${failure.message} (${next.advice})` : failure.message;
      await this.transitions.fail(manager, job, { code, message, param: failure.param }, death);
    } else {
      await this.transitions.requeue(manager, job, {
        outcome: code,
        count: next.count,
        delayMs: next.delayMs,
        message: `${failure.message}; ${sequel(job, next.delayMs, blame)}`,
        level: 'warn',
        reason: failure.message,
        death,
      });
    }
    if (blame === 'own' && worker !== null) await this.lemons.check(manager, worker);
  }

  /** Fails an attempt that could not be assigned to its worker for a permanent reason. */
  async failUnassignable(
    attempt: Pick<Job, 'id' | 'attempt'>,
    { code, message, param }: DomainError,
  ): Promise<void> {
    await this.updateRunning(attempt, (manager, job) =>
      this.transitions.fail(manager, job, { code, message, param }),
    );
  }

  /** Retries an attempt that a defect of the server kept from its worker. */
  async retryUnprepared(attempt: Pick<Job, 'id' | 'attempt'>): Promise<void> {
    await this.updateRunning(attempt, (manager, job) =>
      this.retryOrFail(manager, job, {
        code: 'preparation_failed',
        message: 'The server could not prepare the job for a worker; see the server log',
        param: null,
        retryable: true,
      }),
    );
  }

  /** Requeues an attempt that did not reach its worker, immediately and without charging a budget. */
  async requeueUnsent(attempt: Pick<Job, 'id' | 'attempt'>, why: string): Promise<void> {
    await this.updateRunning(attempt, (manager, job) =>
      this.transitions.requeue(manager, job, {
        outcome: 'not_delivered',
        count: 'none',
        delayMs: 0,
        message: `${why}; the job is queued again`,
        level: 'info',
      }),
    );
  }

  /**
   * Delays a job that could not be prepared while a part of the service was unavailable. It is not charged
   * to a budget. The delay doubles with each attempt, up to a minute, so that jobs that can be prepared
   * overtake it.
   */
  async delay({ id, attempt }: Pick<Job, 'id' | 'attempt'>, part: Dependency): Promise<void> {
    await this.database.transaction(async (manager) => {
      const [job] = await this.database.query<Job & { before: number }>(
        `SELECT job.*, (SELECT count(*)::int FROM attempt WHERE job_id = job.id AND outcome = $3 AND number > (
           SELECT COALESCE(max(number), 0) FROM attempt WHERE job_id = job.id AND outcome <> $3)) AS before
         FROM job WHERE id = $1 AND attempt = $2 AND state = 'running' FOR UPDATE OF job`,
        [id, attempt, NOT_PREPARED],
        manager,
      );
      if (!job) return;
      const delayMs = Math.min(MOST_PUT_OFF_MS, this.settings.retryBackoffMs * 2 ** job.before);
      await this.transitions.requeue(manager, job, {
        outcome: NOT_PREPARED,
        count: 'none',
        delayMs,
        message: `${DEPENDENCIES[part]}; the job is retried in ${Math.ceil(delayMs / 1000)} s, which does not count as one of its retries`,
        level: 'warn',
        phase: `${DEPENDENCIES[part]}; the job waits for a retry`,
      });
    });
  }

  /**
   * Handles a run that was stopped: pauses the job if a pause was requested, otherwise queues it again, for
   * example after a drain or a preemption. The job resumes from the newest committed checkpoint, which is
   * older than the run's last step if that checkpoint was not stored.
   */
  async pauseOrRequeue(
    manager: EntityManager,
    job: Job,
    { reason, step }: PayloadOf<'stopped'>,
  ): Promise<void> {
    const from = await this.newestCheckpoint(manager, job.id);
    const missing: NewEvent[] =
      from < step
        ? [
            {
              level: 'warn',
              message: `The checkpoint at step ${step} could not be stored; ${resumingFrom(from)}`,
              data: { step, from_step: from },
            },
          ]
        : [];
    if (job.desired_state === 'pause') {
      await this.transitions.pauseAt(manager, job, from, missing);
      return;
    }
    await this.events.append(manager, job.id, missing);
    await this.transitions.requeue(manager, job, {
      outcome: OUTCOMES[reason],
      count: 'none',
      delayMs: 0,
      message: `${stopped(reason)}; the job will resume on another worker from step ${from}`,
      level: 'info',
    });
  }

  /** Locks the job's row and calls `then`, unless the attempt is no longer running. */
  private async updateRunning(
    { id, attempt }: Pick<Job, 'id' | 'attempt'>,
    then: (manager: EntityManager, job: Job) => Promise<void>,
  ): Promise<void> {
    await this.database.transaction(async (manager) => {
      const [job] = await this.database.query<Job>(
        `SELECT * FROM job WHERE id = $1 AND attempt = $2 AND state = 'running' FOR UPDATE`,
        [id, attempt],
        manager,
      );
      if (job) await then(manager, job);
    });
  }

  private async newestCheckpoint(manager: EntityManager, jobId: string): Promise<number> {
    const [newest] = await this.database.query<{ step: number }>(
      `SELECT COALESCE(max(step), 0) AS step FROM checkpoint
       WHERE job_id = $1 AND damaged_at IS NULL AND files <> '[]'`,
      [jobId],
      manager,
    );
    return newest?.step ?? 0;
  }
}

type Reason = PayloadOf<'stopped'>['reason'];

/** Outcomes of attempts that were stopped, by reason. */
const OUTCOMES: Readonly<Record<Reason, string>> = {
  cancel: 'cancelled',
  pause: 'paused',
  drain: 'drained',
  preempt: PREEMPTED,
  other: 'stopped',
};

/** Describes why a run ended without a request of the user. */
const stopped = (reason: Reason): string => {
  if (reason === 'drain') return 'The worker is draining';
  if (reason === 'preempt') return 'A job of higher priority needs the slot';
  if (reason === 'other') return 'The worker stopped the run';
  return `The worker stopped the run (${OUTCOMES[reason]})`;
};

const resumingFrom = (step: number): string =>
  step === 0 ? 'starting over' : `resuming from step ${step}`;

/** Describes what happens after a failed attempt; appended to the reason. */
function sequel(
  job: Pick<Job, 'desired_state' | 'present_at_deaths'>,
  delayMs: number,
  blame: Blame | null,
): string {
  if (job.desired_state === 'pause') return 'the job is paused at its last checkpoint';
  if (blame === 'other') return 'resuming from the last checkpoint';
  const seconds = Math.round(delayMs / 1000);
  const when = seconds === 0 ? 'now' : `in ${seconds} s`;
  const isSuspect = blame !== null && runsAlone({ present_at_deaths: job.present_at_deaths + 1 });
  const where = isSuspect ? ', in a trainer process of its own' : '';
  return `retrying from the last checkpoint ${when}${where}`;
}
