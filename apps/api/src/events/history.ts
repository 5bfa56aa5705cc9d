import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

export interface NewEvent {
  readonly level?: 'info' | 'warn' | 'error';
  readonly type?: 'message' | 'metrics' | 'log';
  readonly message: string;
  readonly data?: Record<string, unknown> | null;
  readonly at?: Date;
}

/** PostgreSQL channel on which every committed change of a job is announced. */
export const JOB_CHANNEL = 'graft_job';

/** Writes the history of jobs. Numbers are given under the job row's lock: commit order is id order. */
@Injectable()
export class History {
  constructor(private readonly database: Database) {}

  /** Appends events and announces the change; call inside the transaction that changed the job. */
  async append(manager: EntityManager, jobId: string, events: readonly NewEvent[]): Promise<void> {
    const [job] = await this.database.query<{ event_counter: number; project_id: string }>(
      `UPDATE job SET event_counter = event_counter + $2, updated_at = clock_timestamp()
       WHERE id = $1 RETURNING event_counter, project_id`,
      [jobId, events.length],
      manager,
    );
    if (!job) return;
    if (events.length > 0) {
      const first = job.event_counter - events.length + 1;
      await this.database.query(
        `INSERT INTO event (job_id, number, level, type, message, data, created_at)
         SELECT $1, e.number, e.level, e.type, e.message, e.data, e.at
         FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::timestamptz[])
           AS e(number, level, type, message, data, at)`,
        [
          jobId,
          events.map((_, index) => first + index),
          events.map((event) => event.level ?? 'info'),
          events.map((event) => event.type ?? 'message'),
          // Postgres text cannot hold NUL.
          events.map((event) => event.message.replaceAll('\0', '').slice(0, 8000)),
          events.map((event) =>
            event.data ? JSON.stringify(event.data).replaceAll('\\u0000', '') : null,
          ),
          events.map((event) => event.at ?? new Date()),
        ],
        manager,
      );
    }
    await this.database.query(
      'SELECT pg_notify($1, $2)',
      [JOB_CHANNEL, `${jobId} ${job.project_id}`],
      manager,
    );
  }
}
