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

/** Rows relayed per transaction. */
const BATCH = 100;
/**
 * Minimum time between two relays. Under load a relay carries many rows at little more than the cost of
 * one; a single row is relayed immediately.
 */
const PAUSE_MS = 100;

/**
 * Transactional outbox of queue tokens. A token is written in the transaction that queues a job and relayed
 * to the dispatch queue after the commit, at least once: a row is marked as sent after the queue has
 * accepted the token, whose id makes duplicates harmless.
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

  /** Calls `listener` with the name of a pool after tokens for it were relayed. */
  onRelayed(listener: (pool: string) => void): void {
    this.emitter.on('relayed', listener);
  }

  /** Relays soon. Calls during a relay are combined. */
  nudge(): void {
    this.again = true;
    this.running ??= this.run().finally(() => {
      this.running = null;
      // `nudge` was called after the last check of `again`.
      if (this.again) this.nudge();
    });
  }

  /** Waits for a relay in progress; for shutdown. */
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
