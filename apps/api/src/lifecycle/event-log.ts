import { Injectable } from '@nestjs/common';
import type { EventKind } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { jsonbArray, jsonbText } from '../database/jsonb.js';
import { WakeUps } from '../wake/wake-ups.js';

export interface NewEvent {
  readonly level?: 'info' | 'warn' | 'error';
  readonly type?: 'message' | 'metrics' | 'log';
  readonly kind?: EventKind;
  readonly message: string;
  readonly data?: Record<string, unknown> | null;
  readonly at?: Date;
}

/**
 * Writes the events of jobs. Numbers are assigned under the lock on the job's row, so commit order is
 * number order.
 */
@Injectable()
export class EventLog {
  constructor(
    private readonly database: Database,
    private readonly wakeUps: WakeUps,
  ) {}

  /**
   * Appends events and announces the change after the commit. Call it in the transaction that changed the
   * job.
   */
  async append(manager: EntityManager, jobId: string, events: readonly NewEvent[]): Promise<void> {
    const [job] = await this.database.query<{ project_id: string }>(
      `WITH changed AS (
         UPDATE job SET event_counter = event_counter + $2, updated_at = clock_timestamp()
         WHERE id = $1 RETURNING event_counter - $2 AS before, project_id
       ), written AS (
         ${insertEvents('$1', 'changed.before', 'changed', 3)}
       )
       SELECT project_id FROM changed`,
      [jobId, events.length, ...eventColumns(events)],
      manager,
    );
    if (job) this.announce(jobId, job.project_id);
  }

  /** Notifies streams after the commit of the transaction. */
  announce(jobId: string, projectId: string): void {
    this.wakeUps.announce(`job:${jobId}`, `project:${projectId}`);
  }
}

/** SQL: inserts events after the existing ones of a job. Their columns are the parameters from `$first`. */
export const insertEvents = (
  jobId: string,
  before: string,
  from: string,
  first: number,
): string => {
  const [level, type, message, kind, data, at] = [0, 1, 2, 3, 4, 5].map((n) => `$${first + n}`);
  return `INSERT INTO event (job_id, number, level, type, message, kind, data, created_at)
    SELECT ${jobId}, ${before} + e.nth, e.level, e.type, e.message, e.kind, NULLIF(e.data, 'null'),
      LEAST(e.at, clock_timestamp())
    FROM ${from}, ROWS FROM (
      unnest(${level}::text[], ${type}::text[], ${message}::text[], ${kind}::text[], ${at}::timestamptz[]),
      jsonb_array_elements(${data})
    ) WITH ORDINALITY AS e(level, type, message, kind, at, data, nth)`;
};

/** Parameters of `insertEvents`. */
export const eventColumns = (events: readonly NewEvent[]): unknown[] => [
  events.map((event) => event.level ?? 'info'),
  events.map((event) => event.type ?? 'message'),
  // PostgreSQL's text type cannot store NUL.
  events.map((event) => event.message.replaceAll('\0', '').slice(0, 8000)),
  events.map((event) => event.kind ?? null),
  jsonbArray(events.map((event) => jsonbText(event.data ?? null))),
  events.map((event) => event.at ?? null),
];
