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

/** Key of an advisory lock. It can be any number that is unique in this database. */
const ADVISORY_LOCK = 7_240_251;
/** Time after which the token of a queued job must exist; otherwise it is lost. */
const TOKEN_PATIENCE_MS = 15_000;
/** Number of tokens that one call reissues. */
const BATCH = 500;
const MOST_DEAD_LETTERS = 1_000;

/**
 * Repairs state regularly: reissues lost queue tokens, marks lost workers offline, cancels jobs of archived projects
 * and deletes old rows. An advisory lock makes only one process do this at a time; it would be safe without. It may
 * be slow, as leases expire without it.
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
      await this.database.runExclusively(ADVISORY_LOCK, () => this.reconcile());
    } catch (error) {
      log.warn({ err: error }, 'reconciliation failed; retrying');
    }
    this.outbox.nudge();
  }

  private async reconcile(): Promise<void> {
    await this.reissueLostTokens().catch((error: unknown) =>
      log.warn({ err: error }, 'could not reissue queue tokens'),
    );
    await this.load
      .sample()
      .catch((error: unknown) => log.warn({ err: error }, 'could not record the load of pools'));
    await this.archived
      .finish()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'could not cancel the jobs of archived projects'),
      );
    await this.deleteStaleRows();
  }

  /**
   * Compares the number of queued jobs with the number of tokens; a queue with fewer tokens has lost some. Only pools
   * with workers are checked, because jobs may name any pool.
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

  private async deleteStaleRows(): Promise<void> {
    await this.database.query(
      `UPDATE worker SET state = 'offline', free_slots = 0
       WHERE state <> 'offline' AND last_seen_at < clock_timestamp() - $1 * interval '1 millisecond'`,
      [this.settings.leaseMs * 2],
    );
    await this.database.query(
      `DELETE FROM worker WHERE state = 'offline' AND last_seen_at < now() - interval '1 day'`,
    );
    // Deletes older rows of a worker that lost its key and joined again as a new one.
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
