import { Injectable } from '@nestjs/common';
import { DomainError, SCHEMA_VERSION } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { auditValues, insertAudit, type AuditEntry } from '../auth/audit.js';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { jsonbText } from '../database/jsonb.js';
import { Counters } from '../metrics/counters.js';
import { WebhookEvents } from '../webhooks/webhook-events.js';
import { closeAttempt } from './close-attempt.js';
import { eventColumns, EventLog, insertEvents, type NewEvent } from './event-log.js';
import { Outbox } from './outbox.js';
import { SweepEnds } from './sweep-ends.js';

/** Columns of a new job. */
export type NewJob = Pick<
  Job,
  | 'id'
  | 'project_id'
  | 'base_id'
  | 'model'
  | 'request'
  | 'spec'
  | 'init_adapter'
  | 'data'
  | 'estimated_tokens'
  | 'training_file'
  | 'validation_file'
  | 'suffix'
  | 'default_name'
  | 'metadata'
  | 'pool'
  | 'priority'
  | 'warnings'
  | 'received_at'
  | 'traceparent'
  | 'tracestate'
> & { readonly trial: Trial | null };

/** Place of a job in a sweep. */
export interface Trial {
  readonly sweep: string;
  /** Starts at 1. */
  readonly number: number;
  /** Default name of the job. */
  readonly name: string;
  /** Values of the varied options by path. */
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * Transitions of a job that its owner requests:
 *
 *     create  →  queued
 *     cancel     queued, running, paused  →  cancelled; the worker's attempt is no longer current
 *     pause      queued  →  paused;  running  →  running with a requested pause (AttemptTransitions.pauseAt)
 *     resume     paused  →  queued;  running with a requested pause  →  running
 *
 * Call each method in a transaction that holds the lock on the job's row. It checks the state, writes the
 * new state in a statement that names the attempt, ends the running attempt and appends an event. A
 * repeated request changes nothing.
 */
@Injectable()
export class JobTransitions {
  constructor(
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly events: EventLog,
    private readonly counters: Counters,
    private readonly webhooks: WebhookEvents,
    private readonly sweeps: SweepEnds,
  ) {}

  /**
   * Inserts job, outbox row, first events and audit entry in one statement. Returns the row of the job,
   * whose creation time is later than that of jobs created before in the same transaction.
   * @param auditEntry null if the job is part of another audited action
   */
  async create(
    manager: EntityManager,
    job: NewJob,
    events: readonly NewEvent[],
    auditEntry: AuditEntry | null,
  ): Promise<Job> {
    const [created] = await this.database.query<Job>(
      `WITH created AS (
         INSERT INTO job (id, project_id, base_id, model, request, spec, init_adapter, data, estimated_tokens, training_file,
           validation_file, suffix, metadata, pool, priority, received_at, traceparent, tracestate, schema_version, state, event_counter,
           phase_code, phase_message, sweep_id, trial, trial_options, warnings, default_name, queued_at, created_at,
           training_sha256, validation_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 'queued', $20, 'queued',
           'Waiting for a worker in pool ' || $14, $21, $22, $23, $24, $25, clock_timestamp(),
           clock_timestamp(), (SELECT sha256 FROM file WHERE id = $10), (SELECT sha256 FROM file WHERE id = $11))
         RETURNING *
       ), events AS (${insertEvents('created.id', '0', 'created', 26)}),
       ${auditEntry ? `audited AS (${insertAudit(32)}),` : ''}
       token AS (INSERT INTO outbox (job_id, attempt, pool, not_before) SELECT id, attempt, pool, clock_timestamp() FROM created)
       SELECT * FROM created`,
      [
        job.id,
        job.project_id,
        job.base_id,
        job.model,
        JSON.stringify(job.request),
        JSON.stringify(job.spec),
        JSON.stringify(job.init_adapter),
        job.data && JSON.stringify(job.data),
        job.estimated_tokens,
        job.training_file,
        job.validation_file,
        job.suffix,
        job.metadata && JSON.stringify(job.metadata),
        job.pool,
        job.priority,
        job.received_at,
        job.traceparent,
        job.tracestate,
        SCHEMA_VERSION,
        events.length,
        job.trial?.sweep ?? null,
        job.trial?.number ?? null,
        job.trial && jsonbText(job.trial.options),
        jsonbText(job.warnings),
        job.default_name,
        ...eventColumns(events),
        ...(auditEntry ? auditValues(auditEntry) : []),
      ],
      manager,
    );
    if (!created) throw new Error(`the database inserted no row for job ${job.id}`);
    this.events.announce(job.id, job.project_id);
    return created;
  }

  /**
   * Cancels a job. The statement also raises the attempt number, so later writes of the worker are
   * rejected.
   */
  async cancel(manager: EntityManager, job: Job): Promise<void> {
    if (job.state === 'cancelled') return;
    refuseUnless(job, ['queued', 'running', 'paused'], 'cancelled');
    await this.database.query(
      `UPDATE job SET state = 'cancelled', attempt = attempt + 1, lease_owner = NULL, lease_until = NULL,
         finished_at = clock_timestamp(), phase_code = 'cancelled', phase_message = 'Cancelled by the user'
       WHERE id = $1 AND attempt = $2`,
      [job.id, job.attempt],
      manager,
    );
    this.counters.ended('cancelled', job.started_at);
    await closeAttempt(this.database, manager, job, 'cancelled');
    await this.events.append(manager, job.id, [{ message: 'The job was cancelled' }]);
    await this.webhooks.write(manager, {
      type: 'fine_tuning.job.cancelled',
      projectId: job.project_id,
      target: job.id,
    });
    await this.cancelEvalRuns(manager, job);
    await this.sweeps.trialEnded(manager, job.sweep_id);
  }

  /** Cancels the eval runs of the job's checkpoints, which are no longer needed. Grades so far are kept. */
  private async cancelEvalRuns(manager: EntityManager, job: Job): Promise<void> {
    const runs = await this.database.query<{ id: string }>(
      `UPDATE eval_run SET status = 'canceled', owner = NULL, owner_until = NULL
       WHERE job_id = $1 AND status IN ('queued', 'in_progress') RETURNING id`,
      [job.id],
      manager,
    );
    const { project_id: projectId } = job;
    for (const { id } of runs)
      await this.webhooks.write(manager, { type: 'eval.run.canceled', projectId, target: id });
  }

  /** Pauses a job: a queued one immediately, a running one after its next checkpoint is committed. */
  async pause(manager: EntityManager, job: Job): Promise<void> {
    if (job.state === 'paused' || job.desired_state === 'pause') return;
    refuseUnless(job, ['queued', 'running'], 'paused');
    const running = job.state === 'running';
    await this.database.query(
      running
        ? `UPDATE job SET desired_state = 'pause', phase_code = 'pausing',
             phase_message = 'Saving a checkpoint, then pausing' WHERE id = $1 AND attempt = $2`
        : `UPDATE job SET state = 'paused', attempt = attempt + 1, phase_code = 'paused',
             phase_message = 'Paused by the user' WHERE id = $1 AND attempt = $2`,
      [job.id, job.attempt],
      manager,
    );
    await this.events.append(manager, job.id, [
      running ? { message: 'Pausing the job' } : { kind: 'paused', message: 'The job was paused' },
    ]);
  }

  async resume(manager: EntityManager, job: Job): Promise<void> {
    if (job.state === 'queued' || (job.state === 'running' && job.desired_state === 'run')) return;
    refuseUnless(job, ['paused', 'running'], 'resumed');
    if (job.state === 'running') {
      // The worker may already be stopping for the pause; the job is then queued again.
      await this.database.query(
        `UPDATE job SET desired_state = 'run', phase_code = 'training',
           phase_message = 'Resumed: the pause request was withdrawn' WHERE id = $1 AND attempt = $2`,
        [job.id, job.attempt],
        manager,
      );
    } else {
      await this.database.query(
        `UPDATE job SET state = 'queued', desired_state = 'run', not_before = NULL,
           queued_at = clock_timestamp(), phase_code = 'queued',
           phase_message = 'Waiting for a worker in pool ' || pool WHERE id = $1 AND attempt = $2`,
        [job.id, job.attempt],
        manager,
      );
      await this.outbox.write(manager, job.id);
    }
    await this.events.append(manager, job.id, [
      {
        message: 'The job was resumed',
        ...(job.state === 'paused' && { kind: 'resumed' as const }),
      },
    ]);
  }
}

function refuseUnless(job: Job, allowed: readonly Job['state'][], verb: string): void {
  if (allowed.includes(job.state)) return;
  throw new DomainError(
    'invalid_state',
    `job ${job.id} is ${job.state} and cannot be ${verb}`,
    'fine_tuning_job_id',
  );
}
