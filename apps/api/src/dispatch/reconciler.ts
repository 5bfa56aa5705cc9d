import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Job } from '../database/entities/job.js';
import { Counters } from '../health/counters.js';
import { log } from '../log.js';
import { Endings } from './endings.js';
import type { Hint } from './hint-queue.js';
import { HINTS, type HintQueueRef } from './hints.js';
import { Outbox } from './outbox.js';
import { Restored } from './restored.js';

/** Any number that no other user of this database locks. */
const ADVISORY_LOCK = 7_240_251;
/** A queued job whose hint is missing for this long gets another. */
const HINT_PATIENCE_MS = 15_000;
/** Past a lease's end before it is taken away, for a renewal that is on its way. */
const GRACE_MS = 2_000;

/**
 * Compares what should be with what is, every few seconds: hints that got lost, leases that ran out,
 * workers that went away, rows nobody needs. Safe if two run; an advisory lock makes it one.
 */
@Injectable()
export class Reconciler implements OnModuleDestroy {
  private timer: NodeJS.Timeout | null = null;
  private tick: Promise<void> | null = null;
  private lastTick = performance.now();
  private expireAfter: number;

  constructor(
    private readonly database: Database,
    private readonly endings: Endings,
    private readonly outbox: Outbox,
    private readonly restored: Restored,
    private readonly settings: Settings,
    private readonly counters: Counters,
    @Inject(HINTS) private readonly hints: HintQueueRef,
  ) {
    // Workers could not renew while we were away: nothing is taken from them for one lease.
    this.expireAfter = performance.now() + this.holdMs;
  }

  private get holdMs(): number {
    return this.settings.leaseMs + Math.min(GRACE_MS, this.settings.leaseMs / 4);
  }

  start(): void {
    this.timer = setInterval(() => {
      this.tick ??= this.run().finally(() => (this.tick = null));
    }, this.settings.reconcileMs);
  }

  private async run(): Promise<void> {
    const now = performance.now();
    if (now - this.lastTick > this.settings.reconcileMs * 2 + 3_000)
      this.hold('this process stood still');
    this.lastTick = now;
    try {
      await this.restored
        .check()
        .catch((error: unknown) => log.warn({ err: error }, 'could not see where the database is'));
      await this.database.alone(ADVISORY_LOCK, () => this.reconcile());
    } catch (error) {
      this.hold(`a round failed: ${(error as Error).message}`);
    }
    this.outbox.nudge();
  }

  private hold(reason: string): void {
    log.warn({ reason }, 'no lease expires for one lease time');
    this.expireAfter = performance.now() + this.holdMs;
  }

  private async reconcile(): Promise<void> {
    if (performance.now() >= this.expireAfter) await this.expireLeases();
    await this.emitMissingHints().catch((error: unknown) =>
      log.warn({ err: error }, 'could not re-emit hints'),
    );
    await this.tidyUp();
  }

  private async expireLeases(): Promise<void> {
    const grace = Math.min(GRACE_MS, this.settings.leaseMs / 4);
    const expired = `state = 'running' AND lease_until < clock_timestamp() - ${grace} * interval '1 millisecond'`;
    const rows = await this.database.query<{ id: string }>(
      `SELECT id FROM job WHERE ${expired} LIMIT 100`,
    );
    for (const { id } of rows) {
      await this.database.transaction(async (manager) => {
        const [job] = await this.database.query<Job>(
          `SELECT * FROM job WHERE id = $1 AND ${expired} FOR UPDATE`,
          [id],
          manager,
        );
        if (!job) return;
        this.counters.leasesExpired.inc();
        log.warn({ job: id, epoch: job.epoch, worker: job.lease_owner }, 'lease ran out');
        const message = 'The worker was lost';
        await this.endings.failed(manager, job, {
          code: 'lost_worker',
          message,
          param: null,
          retryable: true,
        });
      });
    }
  }

  /** Postgres says who waits; a pool whose queue holds fewer hints than that has lost some. */
  private async emitMissingHints(): Promise<void> {
    const due = `state = 'queued' AND desired_state = 'run' AND (not_before IS NULL OR not_before <= clock_timestamp())`;
    const pools = await this.database.query<{ pool: string; waiting: number }>(
      `SELECT pool, count(*)::int AS waiting FROM job WHERE ${due} GROUP BY pool`,
    );
    for (const { pool, waiting } of pools) {
      if ((await this.hints.queue.depth(pool)) >= waiting) continue;
      const rows = await this.database.query<Hint & { emitted: Date | null; now: Date }>(
        `SELECT id AS "jobId", epoch, pool, priority, hint_at AS emitted, clock_timestamp() AS now FROM job
         WHERE ${due} AND pool = $1
           AND COALESCE(hint_at, GREATEST(updated_at, not_before)) < clock_timestamp() - $2 * interval '1 millisecond'
         ORDER BY priority, created_at LIMIT 500`,
        [pool, Math.min(HINT_PATIENCE_MS, this.settings.leaseMs)],
      );
      for (const { emitted, now, ...hint } of rows) await this.emitAgain(hint, emitted, now);
    }
  }

  private async emitAgain(hint: Hint, emitted: Date | null, now: Date): Promise<void> {
    const mark = (at: Date): string => `r${at.getTime()}`;
    if (await this.hints.queue.waiting(hint, emitted ? mark(emitted) : undefined)) return;
    await this.hints.queue.add(hint, mark(now));
    await this.database.query('UPDATE job SET hint_at = $3 WHERE id = $1 AND epoch = $2', [
      hint.jobId,
      hint.epoch,
      now,
    ]);
    this.counters.hintsReemitted.inc();
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
    await this.database.query(`DELETE FROM outbox WHERE sent_at < now() - interval '1 hour'`);
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
