import { DomainError } from '@graft/contracts';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import type { Lease } from '@graft/contracts/grpc';
import { AttemptOutcomes, type Failure } from '../lifecycle/attempt-outcomes.js';
import { Leases, type Renewal } from '../lifecycle/lease/lease.js';
import { log } from '../log.js';
import { Counters } from '../metrics/counters.js';
import { Workers } from '../workers/workers.js';

/** Past a lease's end before it is taken away, for a renewal that is on its way. */
const GRACE_MS = 2_000;
/** Of a lease: an API process that has not written its row for so long (three times, 6 s) is taken for dead. */
const GATEWAY_SILENCE = 0.4;
const AT_ONCE = 100;
/** Of a lease: where nobody looked for so long, workers may have been unable to renew. */
const OUTAGE = 1 / 3;
/** Between two brakes for the sake of one process, in lengths of a brake. */
const BRAKE_PAUSE = 3;

/** SQL: the brake is off, and a process could renew within so many milliseconds (a placeholder). */
const mayTake = (outageMs: string): string => `EXISTS (SELECT 1 FROM installation
  WHERE id = 1 AND expire_after <= clock_timestamp() AND watched_at > clock_timestamp() - ${outageMs} * interval '1 millisecond')`;

const LOST: Failure = {
  code: 'lost_worker',
  message: 'The worker was lost',
  param: null,
  retryable: true,
};

/**
 * Takes away leases that ran out, by the database's clock. It has a timer of its own and waits for nothing else that
 * the control plane does: whatever hangs, a dead worker's job goes on.
 *
 * After an outage of our own, when workers could not renew, nothing is taken for the length of a lease. An outage is:
 *
 * - No process could renew for a while: all were away, the database was, or somebody (a migration) locked a table that
 *   renewals write to. Every look begins with the statement of a heartbeat, so `watched_at` is the last time at which a
 *   process could have renewed.
 * - One process has just started or did not look for a while, or a renewal failed there or took too long, or left out a
 *   lease that ends soon because somebody has locked its job. A process that says so again and again does not hold the
 *   brake for good.
 *
 * The brake and `watched_at` are columns of one row, which each look locks, so they hold for every process. A statement
 * that takes leases may have waited for the same lock as the renewals did, so it reads both columns itself. PostgreSQL
 * gives a statement its snapshot after its tables' locks: if nobody has looked since the lock was released, `watched_at`
 * is still old, and if somebody has, the brake is up. Either way nothing is taken.
 */
@Injectable()
export class LeaseExpiry implements OnModuleDestroy {
  private timer: NodeJS.Timeout | null = null;
  private looking: Promise<void> | null = null;
  private taking: Promise<void> | null = null;
  private lookedAt = -Infinity;
  private renewalFailed = false;

  constructor(
    private readonly database: WorkerDatabase,
    private readonly leases: Leases,
    private readonly outcomes: AttemptOutcomes,
    private readonly workers: Workers,
    private readonly settings: Settings,
    private readonly counters: Counters,
  ) {}

  private get graceMs(): number {
    return Math.min(GRACE_MS, this.settings.leaseMs / 4);
  }

  private get outageMs(): number {
    return OUTAGE * this.settings.leaseMs;
  }

  private get holdMs(): number {
    return this.settings.leaseMs + this.graceMs;
  }

  start(): void {
    this.timer = setInterval(
      () => {
        this.looking ??= this.look()
          .catch((error: unknown) => log.warn({ err: error }, 'could not look for expired leases'))
          .finally(() => (this.looking = null));
      },
      Math.min(1_000, this.settings.leaseMs / 10),
    );
  }

  /**
   * Does a renewal. One that fails for a reason of ours, that takes too long, or that leaves out a lease that ends soon
   * raises the brake at the next look.
   */
  async renewal<T extends Renewal>(renew: () => Promise<T>): Promise<T> {
    const late = setTimeout(() => (this.renewalFailed = true), this.outageMs);
    try {
      const renewed = await renew();
      this.renewalFailed ||= renewed.endsSoon;
      return renewed;
    } catch (error) {
      if (!(error instanceof DomainError)) this.renewalFailed = true;
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  /** Only this is timed: the taking may wait for a lock without being an outage. */
  private async look(): Promise<void> {
    const began = performance.now();
    await this.workers.canBeat();
    const due = await this.due();
    // By its beginning: it may have stood still with the question asked, and what it was answered then is out of date.
    this.lookedAt = began;
    if (!due || performance.now() - began > this.outageMs) return;
    this.taking ??= this.takeAway()
      .catch((error: unknown) => log.warn({ err: error }, 'could not take expired leases away'))
      .finally(() => (this.taking = null));
  }

  /** Notes that somebody looks, raises the brake after an outage, and says whether it is off. */
  private async due(): Promise<boolean> {
    const { outageMs } = this;
    const failed = this.renewalFailed;
    this.renewalFailed = false;
    const wasAway = failed || performance.now() - this.lookedAt > outageMs;
    const watching = this.database.query<{ due: boolean; raised: boolean }>(
      `WITH before AS (
         SELECT watched_at < now - $2 * ms OR ($1 AND expire_after < now - $4 * ms) AS away, now + $3 * ms AS latest
         FROM installation, clock_timestamp() AS now, CAST('1 millisecond' AS interval) AS ms
         WHERE id = 1 FOR UPDATE OF installation
       )
       UPDATE installation SET watched_at = clock_timestamp(),
         expire_after = CASE WHEN away THEN latest ELSE LEAST(expire_after, latest) END
       FROM before WHERE id = 1 RETURNING away AS raised, expire_after <= clock_timestamp() AS due`,
      [wasAway, outageMs, this.holdMs, BRAKE_PAUSE * this.holdMs],
    );
    const [watch] = await watching.catch((error: unknown) => {
      this.renewalFailed ||= failed;
      throw error;
    });
    if (watch?.raised)
      log.warn('leases could not be renewed for a while: none will expire for one lease time');
    return watch?.due ?? false;
  }

  private async takeAway(): Promise<void> {
    const { leaseMs } = this.settings;
    await this.leases.shorten();
    // Whoever holds a row is changing that job; the next look sees what came of it.
    const rows = await this.database.query<{ id: string }>(
      `SELECT job.id FROM job
       LEFT JOIN worker ON worker.id = lease_owner LEFT JOIN gateway ON gateway.id = gateway_id
       WHERE job.state = 'running' AND lease_until < clock_timestamp() - $1 * interval '1 millisecond'
         AND (gateway.last_seen_at IS NULL
           OR gateway.last_seen_at NOT BETWEEN clock_timestamp() - $2 * interval '1 millisecond'
                                           AND clock_timestamp() - $3 * interval '1 millisecond')
         AND ${mayTake('$4')}
       ORDER BY lease_until LIMIT ${AT_ONCE} FOR UPDATE OF job SKIP LOCKED`,
      // The workers of a process that died notice after a lease, and have another to come back in.
      [this.graceMs, leaseMs + this.holdMs, GATEWAY_SILENCE * leaseMs, this.outageMs],
    );
    for (const { id } of rows)
      // One that cannot be taken keeps none of the others.
      await this.take(id).catch((error: unknown) =>
        log.error({ err: error, job: id }, 'could not take an expired lease away; trying again'),
      );
  }

  /** A worker that joins without naming a lease of its own does not have that run any more: it was restarted. */
  async takeUnnamed(workerId: string, named: readonly Lease[]): Promise<void> {
    const rows = await this.database.query<{ id: string; attempt: number }>(
      `SELECT id, attempt FROM job WHERE state = 'running' AND lease_owner = $1
         AND NOT EXISTS (SELECT 1 FROM unnest($2::text[], $3::int8[]) AS named(id, attempt)
           WHERE named.id = job.id AND named.attempt = job.attempt)`,
      [workerId, named.map(({ jobId }) => jobId), named.map(({ attempt }) => attempt)],
    );
    for (const { id, attempt } of rows)
      await this.lose(id, `lease_owner = $2 AND attempt = $3`, [workerId, attempt]);
  }

  private take(id: string): Promise<void> {
    const over = `lease_until < clock_timestamp() - $2 * interval '1 millisecond' AND ${mayTake('$3')}`;
    return this.lose(id, over, [this.graceMs, this.outageMs]);
  }

  private async lose(id: string, condition: string, values: unknown[]): Promise<void> {
    await this.database.transaction(async (manager) => {
      const [job] = await this.database.query<Job>(
        `SELECT * FROM job WHERE id = $1 AND state = 'running' AND ${condition} FOR UPDATE SKIP LOCKED`,
        [id, ...values],
        manager,
      );
      if (!job) return;
      this.counters.leasesExpired.inc();
      log.warn({ job: id, attempt: job.attempt, worker: job.lease_owner }, 'lease expired');
      await this.outcomes.retryOrFail(manager, job, LOST);
    }, 1);
  }

  async onModuleDestroy(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await Promise.allSettled([this.looking, this.taking]);
  }
}
