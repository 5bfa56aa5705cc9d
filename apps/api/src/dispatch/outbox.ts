import { Inject, Injectable } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.js';
import { log } from '../log.js';
import type { Hint } from './hint-queue.js';
import { HINTS, type HintQueueRef } from './hints.js';

interface Row extends Hint {
  readonly id: number;
}

/** Rows relayed at once. */
const BATCH = 100;
/** Between two relays: under load a relay then carries several rows, alone a row does not wait. */
const PAUSE_MS = 25;

/**
 * Hints that are written in the transaction that makes a job wait, and relayed after it. At least once:
 * a row is marked sent only after the queue has the hint, and the hint's id makes a repeat harmless.
 */
@Injectable()
export class Outbox {
  private readonly emitter = new EventEmitter();
  private running: Promise<void> | null = null;
  private again = false;

  constructor(
    private readonly database: Database,
    @Inject(HINTS) private readonly hints: HintQueueRef,
  ) {}

  async write(manager: EntityManager, jobId: string, delayMs = 0): Promise<void> {
    await this.database.query(
      `INSERT INTO outbox (job_id, epoch, pool, priority, not_before)
       SELECT id, epoch, pool, priority, clock_timestamp() + $2 * interval '1 millisecond' FROM job WHERE id = $1`,
      [jobId, delayMs],
      manager,
    );
  }

  /** Calls back with a pool's name after hints for it were relayed. */
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
      this.again = false;
      try {
        while ((await this.relay()) === BATCH);
      } catch (error) {
        log.warn({ err: error }, 'could not relay hints; the reconciler will');
      }
      if (this.again) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  private async relay(): Promise<number> {
    const relayed = await this.database.transaction(async (manager) => {
      const rows = await this.database.query<Row>(
        `SELECT id, job_id AS "jobId", epoch, pool, priority FROM outbox
         WHERE sent_at IS NULL AND not_before <= clock_timestamp() ORDER BY id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
        [],
        manager,
      );
      if (rows.length === 0) return rows;
      await this.hints.queue.addAll(rows);
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
