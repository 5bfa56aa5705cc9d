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

/** Time after the end of a lease before it is revoked, for a renewal that is on its way. */
const GRACE_MS = 2_000;
/** Share of a lease after which an API process that has not updated its row counts as dead (three updates, 6 s). */
const GATEWAY_SILENCE = 0.4;
const AT_ONCE = 100;
/** Share of a lease without checks after which workers may have been unable to renew. */
const OUTAGE = 1 / 3;
/** Minimum time between two brakes caused by one process, in multiples of a brake's duration. */
const BRAKE_PAUSE = 3;

/**
 * SQL condition that the brake is off and that a process could renew leases within a number of milliseconds (a
 * placeholder).
 */
const mayTake = (outageMs: string): string => `EXISTS (SELECT 1 FROM installation
  WHERE id = 1 AND expire_after <= clock_timestamp() AND watched_at > clock_timestamp() - ${outageMs} * interval '1 millisecond')`;

const LOST: Failure = {
  code: 'lost_worker',
  message: 'The worker was lost',
  param: null,
  retryable: true,
};

/**
 * Revokes expired leases, by the database's clock. It has its own timer and does not depend on other work of the
 * control plane: whichever part hangs, the job of a dead worker continues elsewhere.
 *
 * After an outage on our side, in which workers could not renew, nothing is revoked for the duration of a lease (the
 * brake). Either of these is an outage:
 *
 * - No process could renew for a while: all processes or the database were down, or something (such as a migration)
 * locked a table that renewals write to. Every check starts with the statement of a heartbeat, so `watched_at` is the
 * last time at which a process could have renewed.
 * - One process has just started or did not check for a while, or a renewal failed there, took too long, or skipped a
 * lease that ends soon because its job was locked. A process that reports this repeatedly does not keep the brake on
 * forever.
 *
 * The brake and `watched_at` are columns of one row, which each check locks, so they apply to all processes. A
 * statement that revokes leases may have waited for the same lock as the renewals did, so it reads both columns
 * itself. PostgreSQL takes the snapshot of a statement after locking its tables: if no process has checked since the
 * lock was released, `watched_at` is still old, and otherwise the brake is on. In both cases, nothing is revoked.
 */
@Injectable()
export class LeaseExpiry implements OnModuleDestroy {
  private timer: NodeJS.Timeout | null = null;
  private checking: Promise<void> | null = null;
  private revoking: Promise<void> | null = null;
  private checkedAt = -Infinity;
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
        this.checking ??= this.check()
          .catch((error: unknown) => log.warn({ err: error }, 'could not check for expired leases'))
          .finally(() => (this.checking = null));
      },
      Math.min(1_000, this.settings.leaseMs / 10),
    );
  }

  /**
   * Runs a renewal. If it fails because of us, takes too long or skips a lease that ends soon, the next check turns
   * on the brake.
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

  /** Only this part is timed. Revoking may wait for a lock without an outage. */
  private async check(): Promise<void> {
    const began = performance.now();
    await this.workers.canBeat();
    const due = await this.due();
    // Uses the start time: the process may have been suspended during the query, which makes its result outdated.
    this.checkedAt = began;
    if (!due || performance.now() - began > this.outageMs) return;
    this.revoking ??= this.revokeExpired()
      .catch((error: unknown) => log.warn({ err: error }, 'could not revoke expired leases'))
      .finally(() => (this.revoking = null));
  }

  /** Records the check, turns on the brake after an outage, and returns whether the brake is off. */
  private async due(): Promise<boolean> {
    const { outageMs } = this;
    const failed = this.renewalFailed;
    this.renewalFailed = false;
    const wasAway = failed || performance.now() - this.checkedAt > outageMs;
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
      log.warn(
        'leases could not be renewed for a while; none will expire for the duration of a lease',
      );
    return watch?.due ?? false;
  }

  private async revokeExpired(): Promise<void> {
    const { leaseMs } = this.settings;
    await this.leases.shorten();
    // A locked row is being changed by another transaction; the next check sees the result.
    const rows = await this.database.query<{ id: string }>(
      `SELECT job.id FROM job
       LEFT JOIN worker ON worker.id = lease_owner LEFT JOIN gateway ON gateway.id = gateway_id
       WHERE job.state = 'running' AND lease_until < clock_timestamp() - $1 * interval '1 millisecond'
         AND (gateway.last_seen_at IS NULL
           OR gateway.last_seen_at NOT BETWEEN clock_timestamp() - $2 * interval '1 millisecond'
                                           AND clock_timestamp() - $3 * interval '1 millisecond')
         AND ${mayTake('$4')}
       ORDER BY lease_until LIMIT ${AT_ONCE} FOR UPDATE OF job SKIP LOCKED`,
      // Workers of a process that died notice this after a lease, and have another lease to reconnect.
      [this.graceMs, leaseMs + this.holdMs, GATEWAY_SILENCE * leaseMs, this.outageMs],
    );
    for (const { id } of rows)
      // A lease that cannot be revoked does not affect the others.
      await this.revoke(id).catch((error: unknown) =>
        log.error({ err: error, job: id }, 'could not revoke an expired lease; retrying'),
      );
  }

  /** Revokes leases that a worker does not name when it joins: it was restarted and no longer has those runs. */
  async revokeUnreported(workerId: string, named: readonly Lease[]): Promise<void> {
    const rows = await this.database.query<{ id: string; attempt: number }>(
      `SELECT id, attempt FROM job WHERE state = 'running' AND lease_owner = $1
         AND NOT EXISTS (SELECT 1 FROM unnest($2::text[], $3::int8[]) AS named(id, attempt)
           WHERE named.id = job.id AND named.attempt = job.attempt)`,
      [workerId, named.map(({ jobId }) => jobId), named.map(({ attempt }) => attempt)],
    );
    for (const { id, attempt } of rows)
      await this.revokeLease(id, `lease_owner = $2 AND attempt = $3`, [workerId, attempt]);
  }

  private revoke(id: string): Promise<void> {
    const over = `lease_until < clock_timestamp() - $2 * interval '1 millisecond' AND ${mayTake('$3')}`;
    return this.revokeLease(id, over, [this.graceMs, this.outageMs]);
  }

  private async revokeLease(id: string, condition: string, values: unknown[]): Promise<void> {
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
    await Promise.allSettled([this.checking, this.revoking]);
  }
}
