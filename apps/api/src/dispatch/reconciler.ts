import { randomUUID } from 'node:crypto';
import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Counters } from '../metrics/counters.js';
import { log } from '../log.js';
import { DISPATCH_QUEUE, type DispatchQueueRef } from '../queue/dispatch-queue-ref.js';
import { IS_DUE } from '../lifecycle/lease/next-job.js';
import { Outbox } from '../lifecycle/outbox.js';
import { ArchivedProjects } from './archived-projects.js';
import { PoolLoad } from './pool-load.js';
import { RestoreGuard } from '../lifecycle/restore-guard.js';

/** Any number that no other user of this database locks. */
const ADVISORY_LOCK = 7_240_251;
/** A job that waits for this long has had its token; one that is missing then is lost. */
const TOKEN_PATIENCE_MS = 15_000;
/** Tokens that are issued again in one call. */
const BATCH = 500;
const MOST_DEAD_LETTERS = 1_000;

/**
 * Compares what should be with what is, every few seconds: queue tokens that got lost, workers that went away, jobs
 * of archived projects, rows nobody needs. Safe if two run; an advisory lock makes it one.
 * It may be slow: leases run out without it.
 */
@Injectable()
export class Reconciler implements OnModuleDestroy {
  private timer: NodeJS.Timeout | null = null;
  private tick: Promise<void> | null = null;

  constructor(
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly restoreGuard: RestoreGuard,
    private readonly settings: Settings,
    private readonly counters: Counters,
    private readonly load: PoolLoad,
    private readonly archived: ArchivedProjects,
    @Inject(DISPATCH_QUEUE) private readonly dispatch: DispatchQueueRef,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.tick ??= this.run().finally(() => (this.tick = null));
    }, this.settings.reconcileMs);
  }

  private async run(): Promise<void> {
    try {
      await this.restoreGuard
        .check()
        .catch((error: unknown) =>
          log.warn({ err: error }, 'could not check whether the database was restored'),
        );
      await this.database.alone(ADVISORY_LOCK, () => this.reconcile());
    } catch (error) {
      log.warn({ err: error }, 'a reconciliation failed; trying again');
    }
    this.outbox.nudge();
  }

  private async reconcile(): Promise<void> {
    await this.reissueLostTokens().catch((error: unknown) =>
      log.warn({ err: error }, 'could not reissue queue tokens'),
    );
    await this.load
      .sample()
      .catch((error: unknown) => log.warn({ err: error }, 'could not note what pools are like'));
    await this.archived
      .finish()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'could not cancel the jobs of archived projects'),
      );
    await this.tidyUp();
  }

  /**
   * Postgres says how many wait; a queue that holds fewer tokens than that has lost some. Only pools that somebody
   * serves are asked: whoever submits a job may name a new one.
   */
  private async reissueLostTokens(): Promise<void> {
    const pools = await this.database.query<{ pool: string; waiting: number }>(
      `SELECT pool, count(*)::int AS waiting FROM job WHERE ${IS_DUE}
         AND GREATEST(updated_at, not_before) < clock_timestamp() - $1 * interval '1 millisecond'
         AND pool IN (SELECT pool FROM worker WHERE state <> 'offline') GROUP BY pool`,
      [Math.min(TOKEN_PATIENCE_MS, this.settings.leaseMs)],
    );
    for (const { pool, waiting } of pools) {
      const missing = waiting - (await this.dispatch.queue.depth(pool));
      for (let left = missing; left > 0; left -= BATCH) {
        const ids = Array.from({ length: Math.min(left, BATCH) }, () => randomUUID());
        await this.dispatch.queue.add(pool, ids);
        this.counters.entriesReissued.inc(ids.length);
      }
    }
  }

  private async tidyUp(): Promise<void> {
    await this.database.query(
      `UPDATE worker SET state = 'offline', free_slots = 0
       WHERE state <> 'offline' AND last_seen_at < clock_timestamp() - $1 * interval '1 millisecond'`,
      [this.settings.leaseMs * 2],
    );
    await this.database.query(
      `DELETE FROM worker WHERE state = 'offline' AND last_seen_at < now() - interval '1 day'`,
    );
    // What a worker without its key left behind at an earlier start.
    await this.database.query(
      `DELETE FROM worker old USING worker new WHERE old.state = 'offline'
         AND old.last_seen_at < clock_timestamp() - interval '10 minutes'
         AND new.name = old.name AND new.pool = old.pool AND new.connected_at > old.last_seen_at`,
    );
    await this.database.query(`DELETE FROM pool_sample WHERE at < now() - interval '7 days'`);
    await this.database.query(`DELETE FROM outbox WHERE sent_at < now() - interval '1 hour'`);
    await this.database.query(
      `DELETE FROM dead_letter WHERE created_at < now() - interval '30 days'
         OR id <= (SELECT max(id) FROM dead_letter) - ${MOST_DEAD_LETTERS}`,
    );
    await this.database.query(
      `DELETE FROM idempotency WHERE created_at < now() - interval '25 hours'`,
    );
  }

  async onModuleDestroy(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await this.tick;
    await this.outbox.settled();
  }
}
