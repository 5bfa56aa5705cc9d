import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import { newId } from '../ids.js';
import { Collector } from './collector.js';
import { isSampled, type TraceParent } from './trace-parent.js';

/** A job whose spans this process sends: what it writes names the claim, and so changes nothing once it is another's. */
export interface TraceClaim {
  readonly job_id: string;
  readonly owner: string;
  readonly cursor: number;
}

/** Renewed before each request, which is over in OTEL_EXPORTER_OTLP_TIMEOUT, 10 s. */
const CLAIM_MS = 60_000;
/** After a first failure; four times as long after each one, up to the longest. */
export const FIRST_PAUSE_MS = 5_000;
export const LONGEST_PAUSE_MS = 5 * 60_000;

const after = (milliseconds: string): string =>
  `clock_timestamp() + ${milliseconds}::float8 * interval '1 millisecond'`;

/** Which jobs' spans are to be sent, by whom, and how many are there. All times are the database's. */
@Injectable()
export class TraceExports {
  constructor(
    private readonly database: Database,
    private readonly collector: Collector,
  ) {}

  /** In the transaction that writes the job. */
  async write(manager: EntityManager, jobId: string, parent: TraceParent): Promise<void> {
    if (!this.collector.isOn || !isSampled(parent)) return;
    await this.database.query(
      'INSERT INTO trace_export (job_id) VALUES ($1) ON CONFLICT DO NOTHING',
      [jobId],
      manager,
    );
  }

  /** Takes jobs that have ended, or of which an attempt has, that nobody sends. */
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

  /** The job, while the claim is whose it was, which is renewed. */
  async job({ job_id: id, owner }: TraceClaim): Promise<Job | null> {
    const [job] = await this.database.query<Job>(
      `WITH mine AS (UPDATE trace_export SET owner_until = ${after('$3')} WHERE job_id = $1 AND owner = $2 RETURNING job_id)
       SELECT job.* FROM job, mine WHERE id = job_id`,
      [id, owner, CLAIM_MS],
    );
    return job ?? null;
  }

  /** False: it is another's now, and nothing more may be sent. */
  async renew({ job_id: id, owner }: TraceClaim): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE trace_export SET owner_until = ${after('$3')} WHERE job_id = $1 AND owner = $2 RETURNING job_id`,
      [id, owner, CLAIM_MS],
    );
    return rows.length > 0;
  }

  /** Up to this attempt all of them are there; null: the job's own, too, and that was all. */
  async sent({ job_id: id, owner }: TraceClaim, attempt: number | null): Promise<void> {
    await this.database.query(
      `UPDATE trace_export SET cursor = COALESCE($3, cursor), failures = 0, error = NULL,
         status = CASE WHEN $3::int IS NULL THEN 'done' ELSE status END
       WHERE job_id = $1 AND owner = $2`,
      [id, owner, attempt],
    );
  }

  /** The collector takes none of this job's, and others' are not to wait for it. */
  async refused({ job_id: id, owner }: TraceClaim, error: string): Promise<void> {
    await this.database.query(
      `UPDATE trace_export SET status = 'refused', error = $3 WHERE job_id = $1 AND owner = $2`,
      [id, owner, error],
    );
  }

  /** It could not be made or sent, whatever the collector does: it is tried later. */
  async failed({ job_id: id, owner }: TraceClaim, error: string): Promise<void> {
    const pause = `LEAST(${FIRST_PAUSE_MS} * 4 ^ LEAST(failures, 6), ${LONGEST_PAUSE_MS}) * (0.75 + random() / 2)`;
    await this.database.query(
      `UPDATE trace_export SET failures = failures + 1, next_at = ${after(pause)}, error = $3
       WHERE job_id = $1 AND owner = $2`,
      [id, owner, error],
    );
  }

  /** Another process may go on at once. */
  async leave(claims: readonly TraceClaim[]): Promise<void> {
    await this.database.query(
      'UPDATE trace_export SET owner = NULL, owner_until = NULL WHERE job_id = ANY($1) AND owner = ANY($2)',
      [claims.map(({ job_id: id }) => id), claims.map(({ owner }) => owner)],
    );
  }
}
