import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';

/**
 * Rows per project and day. Each connection uses one of them, so that connections do not wait for the same
 * row lock.
 */
const PARTS = 16;

/** SQL: today in UTC by the database's clock. */
const TODAY = `(clock_timestamp() AT TIME ZONE 'UTC')::date`;

/** Tokens that projects have trained and generated per day. */
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
