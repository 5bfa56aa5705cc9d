import { Injectable } from '@nestjs/common';
import type { Event } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { storableText } from '../database/jsonb.js';
import { faultOf } from '../faults.js';
import { AttemptOutcomes } from '../lifecycle/attempt-outcomes.js';
import { log } from '../log.js';
import { Counters } from '../metrics/counters.js';
import { payloadText } from './reported.js';

/** Maximum characters to keep of a batch. */
const MOST_EVENTS = 64 << 10;
const MOST_ERROR = 1000;

/**
 * Whether the events themselves are to blame, so that they would fail again. Code throws a TypeError or a RangeError
 * for events of an unexpected shape. Other defects are the server's: the worker sends its events again.
 */
export function isDataError(error: unknown): boolean {
  const fault = faultOf(error, 'database');
  const isOfShape = error instanceof TypeError || error instanceof RangeError;
  return fault === 'own' || (fault === 'bug' && isOfShape);
}

const readable = (event: Event): object => ({ ...event, payload: payloadText(event) });

/** Stores events that cannot be ingested, for later analysis. They end their attempt, not the worker. */
@Injectable()
export class DeadLetters {
  constructor(
    private readonly database: Database,
    private readonly outcomes: AttemptOutcomes,
    private readonly counters: Counters,
  ) {}

  /** Call it in a transaction that holds the lock of the job's row. */
  async reject(
    manager: EntityManager,
    job: Job,
    events: readonly Event[],
    error: unknown,
  ): Promise<void> {
    const reason = storableText(String((error as Error | null)?.message ?? error));
    log.error(
      { err: error, job: job.id, worker: job.lease_owner },
      'events of a worker could not be stored',
    );
    await this.database.query(
      `INSERT INTO dead_letter (worker_id, job_id, attempt, error, events) VALUES ($1, $2, $3, $4, $5)`,
      [
        job.lease_owner,
        job.id,
        job.attempt,
        reason.slice(0, MOST_ERROR),
        storableText(JSON.stringify(events.map(readable)).slice(0, MOST_EVENTS)),
      ],
      manager,
    );
    this.counters.deadLetters.inc();
    await this.outcomes.retryOrFail(manager, job, {
      code: 'invalid_report',
      message: `The worker's events of this run could not be stored: ${reason.slice(0, 200)}`,
      param: null,
      retryable: true,
    });
  }
}
