import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { jsonbText } from '../database/jsonb.js';

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

  /** Appends events and announces the change, in one statement; call inside the transaction that changed the job. */
  async append(manager: EntityManager, jobId: string, events: readonly NewEvent[]): Promise<void> {
    await this.database.query(
      `WITH changed AS (
         UPDATE job SET event_counter = event_counter + $2, updated_at = clock_timestamp()
         WHERE id = $1 RETURNING event_counter - $2 AS before, project_id
       ), written AS (
         INSERT INTO event (job_id, number, level, type, message, data, created_at)
         SELECT $1, changed.before + e.nth, e.level, e.type, e.message, e.data, COALESCE(e.at, clock_timestamp())
         FROM changed, unnest($3::text[], $4::text[], $5::text[], $6::jsonb[], $7::timestamptz[])
           WITH ORDINALITY AS e(level, type, message, data, at, nth)
       )
       SELECT pg_notify('${JOB_CHANNEL}', $1 || ' ' || project_id) FROM changed`,
      [
        jobId,
        events.length,
        events.map((event) => event.level ?? 'info'),
        events.map((event) => event.type ?? 'message'),
        // Postgres text cannot hold NUL.
        events.map((event) => event.message.replaceAll('\0', '').slice(0, 8000)),
        events.map((event) => (event.data ? jsonbText(event.data) : null)),
        events.map((event) => event.at ?? null),
      ],
      manager,
    );
  }
}
