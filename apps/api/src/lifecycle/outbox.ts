import { Inject, Injectable } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import { DISPATCH_QUEUE, type DispatchQueueRef } from '../queue/dispatch-queue-ref.js';

interface Row {
  readonly id: number;
  readonly pool: string;
  readonly token: string;
}

/** Rows relayed at once. */
const BATCH = 100;
/** Between two relays: under load a relay then carries many rows, which costs little more than one; alone none waits. */
const PAUSE_MS = 100;

/**
 * Tokens that are written in the transaction that makes a job wait, and relayed to the dispatch queue after it. At
 * least once: a row is marked sent only after the queue has the token, and the token's id makes a repeat harmless.
 */
@Injectable()
export class Outbox {
  private readonly emitter = new EventEmitter();
  private running: Promise<void> | null = null;
  private again = false;
  private relayedAt = -Infinity;

  constructor(
    private readonly database: Database,
    @Inject(DISPATCH_QUEUE) private readonly dispatch: DispatchQueueRef,
  ) {}

  async write(manager: EntityManager, jobId: string, delayMs = 0): Promise<void> {
    await this.database.query(
      `INSERT INTO outbox (job_id, attempt, pool, not_before)
       SELECT id, attempt, pool, clock_timestamp() + $2 * interval '1 millisecond' FROM job WHERE id = $1`,
      [jobId, delayMs],
      manager,
    );
  }

  /** Calls back with a pool's name after tokens for it were relayed. */
  onRelayed(listener: (pool: string) => void): void {
    this.emitter.on('relayed', listener);
  }

  /** Relays soon; many nudges become one run. */
  nudge(): void {
    this.again = true;
    this.running ??= this.run().finally(() => {
      this.running = null;
      // Asked for between the last look and here.
      if (this.again) this.nudge();
    });
  }

  /** Waits for a relay in progress, for an orderly end. */
  async settled(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    while (this.again) {
      const early = this.relayedAt + PAUSE_MS - performance.now();
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
      this.again = false;
      try {
        while ((await this.relay()) === BATCH);
      } catch (error) {
        log.warn({ err: error }, 'could not relay queue tokens; the reconciler will');
      }
      this.relayedAt = performance.now();
    }
  }

  private async relay(): Promise<number> {
    const relayed = await this.database.transaction(async (manager) => {
      const rows = await this.database.query<Row>(
        `SELECT id, pool, job_id || '-a' || attempt AS token FROM outbox
         WHERE sent_at IS NULL AND not_before <= clock_timestamp() ORDER BY id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
        [],
        manager,
      );
      if (rows.length === 0) return rows;
      for (const pool of new Set(rows.map((row) => row.pool)))
        await this.dispatch.queue.add(
          pool,
          rows.filter((row) => row.pool === pool).map((row) => row.token),
        );
      await this.database.query(
        'UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY($1)',
        [rows.map((row) => row.id)],
        manager,
      );
      return rows;
    }, 1);
    for (const pool of new Set(relayed.map((row) => row.pool))) this.emitter.emit('relayed', pool);
    return relayed.length;
  }
}
