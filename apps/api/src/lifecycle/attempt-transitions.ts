import { Injectable } from '@nestjs/common';
import type { Blame, JobError, JobForgetting, PayloadOf, WebhookEventType } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { Counters } from '../metrics/counters.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';
import { closeAttempt } from './close-attempt.js';
import { EventLog, type NewEvent } from './event-log.js';
import { Outbox } from './outbox.js';
import { successEvents } from './success-events.js';
import { SweepEnds } from './sweep-ends.js';

/** Outcome of an attempt that handed its slot to a job of higher priority. */
export const PREEMPTED = 'preempted';

/** Parameters of a requeue. */
export interface Requeue {
  /** Outcome of the attempt. */
  readonly outcome: string;
  /** Budget (retry-policy) that is charged. */
  readonly count: 'crash' | 'infra' | 'none';
  readonly delayMs: number;
  readonly message: string;
  readonly level: 'info' | 'warn';
  /** Phase message of the job if it waits for more than a worker. */
  readonly phase?: string;
  /** Reason of the end in words, if `outcome` does not say it all. */
  readonly reason?: string;
  readonly death?: ProcessDeath;
}

/** Death of the trainer process that an attempt ran in. */
export interface ProcessDeath {
  readonly process: string | null;
  readonly blame: Blame | null;
}

/** Report of an attempt that starts. */
export type Start = Pick<
  PayloadOf<'started'>,
  'from_step' | 'process' | 'device' | 'threads' | 'trainer_build'
>;

/** Result of a finished attempt. */
export interface Result {
  /** Name of the fine-tuned model. */
  readonly model: string;
  /** Ids of the result files. */
  readonly files: readonly string[];
  readonly trainedTokens: number;
  readonly step: number;
  /** Step whose weights the model contains; null for an operation on adapters. */
  readonly publishedStep: number | null;
  readonly forgetting: JobForgetting | null;
}

/**
 * Transitions of a job that its attempt causes. Leases.take starts an attempt.
 *
 *     start        running, from its first or a later step
 *     succeed      running  →  succeeded
 *     fail         running  →  failed
 *     pauseAt      running  →  paused
 *     requeue      running  →  queued, or paused if a pause was requested
 *
 * Call each method in a transaction that holds the lock on the job's row. The statements name the attempt,
 * so an attempt that is not current changes no row. AttemptOutcomes decides which transition follows the
 * end of an attempt.
 */
@Injectable()
export class AttemptTransitions {
  constructor(
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly events: EventLog,
    private readonly counters: Counters,
    private readonly webhooks: WebhookEvents,
    private readonly sweeps: SweepEnds,
  ) {}

  /**
   * Marks an attempt as started. Returns the message for its event, which the caller appends with others.
   */
  async start(
    manager: EntityManager,
    job: Job,
    { from_step: fromStep, process, device, threads, trainer_build: build }: Start,
  ): Promise<{ message: string; worker: string | undefined }> {
    const [attempt] = await this.database.query<{ worker_name: string; earlier: number }>(
      `UPDATE attempt SET started_at = clock_timestamp(), from_step = $3, process = $4, device = $5, threads = $6,
         trainer_build = COALESCE($7, (SELECT trainer_build FROM worker WHERE id = worker_id))
       WHERE job_id = $1 AND number = $2
       RETURNING worker_name, (SELECT count(*)::int FROM attempt a WHERE a.job_id = $1 AND a.started_at IS NOT NULL) AS earlier`,
      [
        job.id,
        job.attempt,
        fromStep,
        process || null,
        device || null,
        threads ?? null,
        build || null,
      ],
      manager,
    );
    const worker = attempt?.worker_name;
    const isFirst = (attempt?.earlier ?? 0) === 0;
    return { message: startedWords(job, isFirst, fromStep, worker), worker };
  }

  async succeed(
    manager: EntityManager,
    job: Job,
    { model, files, trainedTokens, step, publishedStep, forgetting }: Result,
  ): Promise<void> {
    await this.database.query(
      `UPDATE job SET state = 'succeeded', lease_owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
         fine_tuned_model = $3, trained_tokens = $4, result_files = $5, step = $6, phase_code = 'succeeded', phase_message = 'Done',
         forgetting = $7, published_step = $8
       WHERE id = $1 AND attempt = $2 AND state = 'running'`,
      [
        job.id,
        job.attempt,
        model,
        trainedTokens,
        JSON.stringify(files),
        step,
        forgetting && JSON.stringify(forgetting),
        publishedStep,
      ],
      manager,
    );
    this.counters.ended('succeeded', job.started_at);
    await closeAttempt(this.database, manager, job, 'done');
    await this.events.append(manager, job.id, successEvents(job, { model, step, publishedStep }));
    await this.ended(manager, job, 'fine_tuning.job.succeeded');
  }

  /** Fails the job without a retry. */
  async fail(
    manager: EntityManager,
    job: Job,
    error: JobError,
    death?: ProcessDeath,
  ): Promise<void> {
    await this.database.query(
      `UPDATE job SET state = 'failed', lease_owner = NULL, lease_until = NULL, finished_at = clock_timestamp(),
         error = $3, phase_code = 'failed', phase_message = $4
       WHERE id = $1 AND attempt = $2 AND state = 'running'`,
      [job.id, job.attempt, JSON.stringify(error), error.message.slice(0, 300)],
      manager,
    );
    this.counters.ended('failed', job.started_at);
    await closeAttempt(this.database, manager, job, error.code, {
      ...death,
      reason: error.message,
    });
    await this.events.append(manager, job.id, [
      {
        level: 'error',
        message: `The job failed: ${error.message}`,
        data: { code: error.code, param: error.param },
      },
    ]);
    await this.ended(manager, job, 'fine_tuning.job.failed');
  }

  private async ended(manager: EntityManager, job: Job, type: WebhookEventType): Promise<void> {
    await this.webhooks.write(manager, { type, projectId: job.project_id, target: job.id });
    await this.sweeps.trialEnded(manager, job.sweep_id);
  }

  /** Pauses the job as its owner requested. `before` are events to append first. */
  async pauseAt(
    manager: EntityManager,
    job: Job,
    step: number,
    before: readonly NewEvent[],
  ): Promise<void> {
    await this.database.query(
      `UPDATE job SET state = 'paused', attempt = attempt + 1, lease_owner = NULL, lease_until = NULL,
         phase_code = 'paused', phase_message = 'Paused by the user at step ' || $3::int, step = $3
       WHERE id = $1 AND attempt = $2 AND state = 'running'`,
      [job.id, job.attempt, step],
      manager,
    );
    await closeAttempt(this.database, manager, job, 'paused');
    await this.events.append(manager, job.id, [
      ...before,
      { kind: 'paused', message: `The job was paused at step ${step}`, data: { step } },
    ]);
  }

  /** Queues the job again after a delay. The next attempt resumes from the newest checkpoint. */
  async requeue(manager: EntityManager, job: Job, how: Requeue): Promise<void> {
    const paused = job.desired_state === 'pause';
    await this.database.query(
      `UPDATE job SET state = $3, attempt = attempt + 1, lease_owner = NULL, lease_until = NULL,
         crash_count = crash_count + $4, infra_count = infra_count + $5, present_at_deaths = present_at_deaths + $8,
         preempting_at = NULL, preempted = CASE WHEN $9 THEN preempted + 1 ELSE 0 END,
         queued_at = clock_timestamp(), not_before = clock_timestamp() + $6 * interval '1 millisecond',
         phase_code = $3, phase_message = $7
       WHERE id = $1 AND attempt = $2 AND state = 'running'`,
      [
        job.id,
        job.attempt,
        paused ? 'paused' : 'queued',
        how.count === 'crash' ? 1 : 0,
        how.count === 'infra' ? 1 : 0,
        how.delayMs,
        paused
          ? 'Paused by the user'
          : (how.phase ?? `Waiting for a worker in pool ${job.pool} to resume`),
        how.death?.blame === 'own' || how.death?.blame === 'shared' ? 1 : 0,
        how.outcome === PREEMPTED,
      ],
      manager,
    );
    await closeAttempt(this.database, manager, job, how.outcome, {
      ...how.death,
      reason: how.reason ?? null,
    });
    if (!paused) await this.outbox.write(manager, job.id, how.delayMs);
    await this.events.append(manager, job.id, [
      { level: how.level, message: how.message, ...(paused && { kind: 'paused' as const }) },
    ]);
  }
}

/**
 * Message of a started attempt. An operation on adapters has no steps, so each attempt starts from the
 * beginning.
 */
function startedWords(
  { spec }: Pick<Job, 'spec'>,
  isFirst: boolean,
  fromStep: number,
  worker: string | undefined,
): string {
  if (spec.operation) return isFirst ? 'Job started' : `Restarted on worker ${worker}`;
  return isFirst ? 'Fine-tuning job started' : `Resumed from step ${fromStep} on worker ${worker}`;
}
