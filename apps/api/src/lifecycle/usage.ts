import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import type { UsageKind } from '../database/entities/tenancy.js';

/**
 * Rows per project and day. Each connection uses one of them, so that connections do not wait for the same
 * row lock.
 */
const PARTS = 16;

/** SQL: today in UTC by the database's clock. */
const TODAY = `(clock_timestamp() AT TIME ZONE 'UTC')::date`;

/** Usage of a model in the current hour. */
export interface HourlyUsage {
  readonly kind: UsageKind;
  /** Id of the model; of the base model for training. */
  readonly model: string;
  /** Requests, or trained steps. */
  readonly requests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Training time; 0 for requests. */
  readonly seconds: number;
}

/** Tokens that projects have trained and generated: per day for limits, per hour and model for reports. */
@Injectable()
export class Usage {
  constructor(private readonly database: Database) {}

  /**
   * Adds tokens. Call it in the transaction that processes their source, so that both commit or neither.
   */
  async add(manager: EntityManager, projectId: string, tokens: number): Promise<void> {
    if (tokens <= 0) return;
    await this.database.query(
      `INSERT INTO usage (project_id, day, part, tokens) VALUES ($1, ${TODAY}, pg_backend_pid() % ${PARTS}, $2)
       ON CONFLICT (project_id, day, part) DO UPDATE SET tokens = usage.tokens + excluded.tokens`,
      [projectId, tokens],
      manager,
    );
  }

  /** Records usage for reports. Call it in the transaction that processes its source. */
  async record(manager: EntityManager, projectId: string, usage: HourlyUsage): Promise<void> {
    const { kind, model, requests, inputTokens, outputTokens, seconds } = usage;
    await this.database.query(
      `INSERT INTO usage_hour (project_id, hour, kind, model, part, requests, input_tokens, output_tokens, seconds)
       VALUES ($1, date_trunc('hour', clock_timestamp(), 'UTC'), $2, $3, pg_backend_pid() % ${PARTS}, $4, $5, $6, $7)
       ON CONFLICT (project_id, hour, kind, model, part) DO UPDATE SET requests = usage_hour.requests + excluded.requests,
         input_tokens = usage_hour.input_tokens + excluded.input_tokens,
         output_tokens = usage_hour.output_tokens + excluded.output_tokens,
         seconds = usage_hour.seconds + excluded.seconds`,
      [projectId, kind, model, requests, inputTokens, outputTokens, seconds],
      manager,
    );
  }

  /** Tokens of today, and the start of the next day. */
  async today(
    projectId: string,
    manager?: EntityManager,
  ): Promise<{ readonly tokens: number; readonly resetsAt: Date; readonly secondsLeft: number }> {
    const [row] = await this.database.query<{ tokens: string; resets: Date; left: number }>(
      `SELECT COALESCE(sum(tokens), 0) AS tokens, (${TODAY} + 1)::timestamp AT TIME ZONE 'UTC' AS resets,
         EXTRACT(EPOCH FROM (${TODAY} + 1)::timestamp AT TIME ZONE 'UTC' - clock_timestamp())::float8 AS left
       FROM usage WHERE project_id = $1 AND day = ${TODAY}`,
      [projectId],
      manager,
    );
    if (!row) throw new Error('the database returned no token count');
    return { tokens: Number(row.tokens), resetsAt: row.resets, secondsLeft: Math.ceil(row.left) };
  }
}
