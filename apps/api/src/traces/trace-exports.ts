import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import { newId } from '../ids.js';
import { Collector } from './collector.js';
import { isSampled, type TraceParent } from './trace-parent.js';

/**
 * Claim on a job whose spans this process sends. Writes name the claim, so they have no effect once another
 * process owns it.
 */
export interface TraceClaim {
  readonly job_id: string;
  readonly owner: string;
  readonly cursor: number;
}

/** Lease of a claim. Renewed before each request, which takes at most OTEL_EXPORTER_OTLP_TIMEOUT (10 s). */
const CLAIM_MS = 60_000;
/** Pause after the first failure. Each further failure quadruples it, up to LONGEST_PAUSE_MS. */
export const FIRST_PAUSE_MS = 5_000;
export const LONGEST_PAUSE_MS = 5 * 60_000;

const after = (milliseconds: string): string =>
  `clock_timestamp() + ${milliseconds}::float8 * interval '1 millisecond'`;

/** Claims and progress of trace exports, in the database. All times are the database's. */
@Injectable()
export class TraceExports {
  constructor(
    private readonly database: Database,
    private readonly collector: Collector,
  ) {}

  /** Registers a job for export, in the transaction that creates the job. */
  async write(manager: EntityManager, jobId: string, parent: TraceParent): Promise<void> {
    if (!this.collector.isOn || !isSampled(parent)) return;
    await this.database.query(
      'INSERT INTO trace_export (job_id) VALUES ($1) ON CONFLICT DO NOTHING',
      [jobId],
      manager,
    );
  }

  /** Claims unclaimed jobs that have ended, or that have an ended attempt whose spans have not been sent. */
  take(most: number): Promise<TraceClaim[]> {
    return this.database.query<TraceClaim>(
      `UPDATE trace_export SET owner = $1, owner_until = ${after('$2')}
       WHERE job_id IN (
         SELECT job_id FROM trace_export AS one JOIN job ON job.id = job_id
         WHERE one.status = 'open' AND (owner IS NULL OR owner_until < clock_timestamp())
           AND one.next_at <= clock_timestamp() AND (NOT ${IS_OPEN}
           OR EXISTS (SELECT 1 FROM attempt WHERE attempt.job_id = job.id AND number > one.cursor AND ended_at IS NOT NULL))
         ORDER BY one.created_at LIMIT $3 FOR UPDATE OF one SKIP LOCKED)
       RETURNING job_id, owner, cursor`,
      [newId('traces-'), CLAIM_MS, most],
    );
  }

  /** Renews the claim and returns its job; null if the claim is lost. */
  async job({ job_id: id, owner }: TraceClaim): Promise<Job | null> {
    const [job] = await this.database.query<Job>(
      `WITH mine AS (UPDATE trace_export SET owner_until = ${after('$3')} WHERE job_id = $1 AND owner = $2 RETURNING job_id)
       SELECT job.* FROM job, mine WHERE id = job_id`,
      [id, owner, CLAIM_MS],
    );
    return job ?? null;
  }

  /** Renews the claim. Returns false if another process owns it: then nothing more may be sent. */
  async renew({ job_id: id, owner }: TraceClaim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE trace_export SET owner_until = ${after('$3')} WHERE job_id = $1 AND owner = $2 RETURNING job_id`,
      [id, owner, CLAIM_MS],
    );
    return rows.length > 0;
  }

  /**
   * Records that all spans up to this attempt are sent. With null, those of the job are sent too, and the
   * export is done.
   */
  async sent({ job_id: id, owner }: TraceClaim, attempt: number | null): Promise<void> {
    await this.database.query(
      `UPDATE trace_export SET cursor = COALESCE($3, cursor), failures = 0, error = NULL,
         status = CASE WHEN $3::int IS NULL THEN 'done' ELSE status END
       WHERE job_id = $1 AND owner = $2`,
      [id, owner, attempt],
    );
  }

  /** Ends the export of a job that the collector rejects, so that other jobs do not wait for it. */
  async rejected({ job_id: id, owner }: TraceClaim, error: string): Promise<void> {
    await this.database.query(
      `UPDATE trace_export SET status = 'refused', error = $3 WHERE job_id = $1 AND owner = $2`,
      [id, owner, error],
    );
  }

  /** Schedules a retry of a job whose spans could not be computed or sent. */
  async failed({ job_id: id, owner }: TraceClaim, error: string): Promise<void> {
    const pause = `LEAST(${FIRST_PAUSE_MS} * 4 ^ LEAST(failures, 6), ${LONGEST_PAUSE_MS}) * (0.75 + random() / 2)`;
    await this.database.query(
      `UPDATE trace_export SET failures = failures + 1, next_at = ${after(pause)}, error = $3
       WHERE job_id = $1 AND owner = $2`,
      [id, owner, error],
    );
  }

  /** Releases claims, so that another process can continue immediately. */
  async release(claims: readonly TraceClaim[]): Promise<void> {
    await this.database.query(
      'UPDATE trace_export SET owner = NULL, owner_until = NULL WHERE job_id = ANY($1) AND owner = ANY($2)',
      [claims.map(({ job_id: id }) => id), claims.map(({ owner }) => owner)],
    );
  }
}
