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

/** Writes the history of jobs. Numbers are given under the job row's lock: commit order is id order. */
@Injectable()
export class EventLog {
  constructor(
    private readonly database: Database,
    private readonly wakeUps: WakeUps,
  ) {}

  /** Appends events, and announces the change once it is committed; call inside the transaction that changed the job. */
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

  /** Tells who watches, once the transaction is committed. */
  announce(jobId: string, projectId: string): void {
    this.wakeUps.announce(`job:${jobId}`, `project:${projectId}`);
  }
}

/** SQL: writes events, whose columns are parameters from `first` on, after those that the job has. */
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

/** The parameters of that. */
export const eventColumns = (events: readonly NewEvent[]): unknown[] => [
  events.map((event) => event.level ?? 'info'),
  events.map((event) => event.type ?? 'message'),
  // Postgres text cannot hold NUL.
  events.map((event) => event.message.replaceAll('\0', '').slice(0, 8000)),
  events.map((event) => event.kind ?? null),
  jsonbArray(events.map((event) => jsonbText(event.data ?? null))),
  events.map((event) => event.at ?? null),
];
