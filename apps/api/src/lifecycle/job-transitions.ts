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

/** What is known of a job before it waits for a worker. */
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
  | 'metadata'
  | 'pool'
  | 'priority'
  | 'warnings'
  | 'received_at'
  | 'traceparent'
  | 'tracestate'
> & { readonly trial: Trial | null };

/** What a job is of a sweep. */
export interface Trial {
  readonly sweep: string;
  /** Counted from 1. */
  readonly number: number;
  /** By path. */
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * What its owner may do to a job:
 *
 *     create  →  queued
 *     cancel     queued, running, paused  →  cancelled, and the worker's attempt is not current any more
 *     pause      queued  →  paused;  running  →  running, and wanted paused (AttemptTransitions.pauseAt)
 *     resume     paused  →  queued;  running and wanted paused  →  running
 *
 * Each is called in a transaction that holds the job row's lock. It checks the state, writes it in a statement that
 * names the attempt, ends the attempt that was running, and appends the event that tells of it. What is so already is
 * left alone: the same request may come twice.
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
   * Job, outbox row, first events and the audit log's row, in one statement; answers with the job's row.
   * It is younger than those that the same transaction made before.
   * @param auditEntry null where the job is part of another
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
           phase_code, phase_message, sweep_id, trial, trial_options, warnings, queued_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 'queued', $20, 'queued',
           'Waiting for a worker in pool ' || $14, $21, $22, $23, $24, clock_timestamp(),
           clock_timestamp())
         RETURNING *
       ), events AS (${insertEvents('created.id', '0', 'created', 25)}),
       ${auditEntry ? `audited AS (${insertAudit(31)}),` : ''}
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
        ...eventColumns(events),
        ...(auditEntry ? auditValues(auditEntry) : []),
      ],
      manager,
    );
    if (!created) throw new Error(`the database inserted no row for job ${job.id}`);
    this.events.announce(job.id, job.project_id);
    return created;
  }

  /** The attempt's number goes up in the same statement, so whatever the worker still writes is refused. */
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

  /** Nobody waits for the scores of its checkpoints any more. What is graded stays. */
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

  /** A waiting job pauses at once; a running one after its next checkpoint is committed. */
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
      // Told to pause but not there yet: when it stops it is queued again.
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
