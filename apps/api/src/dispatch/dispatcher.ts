import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import type { Assignment } from '@graft/contracts/grpc';
import { Assignments } from './assignments.js';
import { Candidates, type Candidate } from './candidates.js';
import { Connections } from '../relay/connections.js';
import { PoolLeadership } from './pool-leadership.js';
import { PoolPauses } from './pool-pauses.js';
import { WorkerLink } from '../relay/worker-link.js';
import { Workers } from '../workers/workers.js';
import { faultOf, isDependency, type Dependency } from '../faults.js';
import { log } from '../log.js';
import { AttemptOutcomes } from '../lifecycle/attempt-outcomes.js';
import { DISPATCH_QUEUE, type DispatchQueueRef } from '../queue/dispatch-queue-ref.js';
import { Leases, type LeasedJob } from '../lifecycle/lease/lease.js';
import { LeaseBatch, match } from '../lifecycle/lease/lease-batch.js';
import { Outbox } from '../lifecycle/outbox.js';
import { WakeUps } from '../wake/wake-ups.js';

/** Interval of checks without a wake-up, which may be lost; a pool may also have lost its leader. */
const IDLE_MS = 1_000;

/** Delay between two attempts to return an attempt while the database does not respond. */
const RETURN_MS = 500;

/** Number of tokens to drop at a time for a pool without queued jobs. */
const MOST_DROPPED = 100;

/**
 * Assigns queued jobs to workers with free slots, in the pools that this process leads, whichever process the workers
 * are connected to. Other processes and the queue's tokens only signal that there is work.
 */
@Injectable()
export class Dispatcher implements OnModuleDestroy {
  private readonly busy = new Map<string, Promise<void>>();
  private readonly requestedPools = new Set<string>();
  private readonly background = new Set<Promise<void>>();
  private readonly watched = new Map<string, () => void>();
  private timer: NodeJS.Timeout | null = null;
  private closing = false;

  constructor(
    private readonly connections: Connections,
    private readonly leadership: PoolLeadership,
    private readonly pauses: PoolPauses,
    private readonly candidates: Candidates,
    private readonly link: WorkerLink,
    private readonly leases: Leases,
    private readonly batches: LeaseBatch,
    private readonly assignments: Assignments,
    private readonly workers: Workers,
    private readonly outcomes: AttemptOutcomes,
    private readonly outbox: Outbox,
    private readonly wakeUps: WakeUps,
    @Inject(DISPATCH_QUEUE) private readonly dispatch: DispatchQueueRef,
  ) {}

  start(): void {
    this.outbox.onRelayed((pool) => this.wake(pool));
    this.connections.onCapacity((pool) => this.hasCapacity(pool));
    this.leadership.onEnded((pool) => {
      this.watched.get(pool)?.();
      this.watched.delete(pool);
    });
    this.timer = setInterval(() => void this.poll(), IDLE_MS);
  }

  /** Signals that a pool has a new job or more capacity, to this process or to the one that leads the pool. */
  private wake(pool: string): void {
    if (this.leadership.leads(pool)) return this.pump(pool);
    this.wakeUps.announce(`pool:${pool}`);
  }

  /**
   * Seeks to lead a pool only if it has capacity: jobs may name any pool, and each pool that is led costs the server
   * a lock.
   */
  private hasCapacity(pool: string): void {
    this.wake(pool);
    if (!this.leadership.leads(pool)) void this.acquireLeadership([pool]);
  }

  private async poll(): Promise<void> {
    const pools = await this.candidates.pools().catch(() => []);
    await this.acquireLeadership(pools);
    for (const pool of pools) if (this.leadership.leads(pool)) this.pump(pool);
  }

  /** Seeks to lead pools without a leader, and starts to dispatch for them. */
  private async acquireLeadership(pools: readonly string[]): Promise<void> {
    if (this.closing) return;
    const won = await this.leadership.acquire(pools).catch((error: unknown) => {
      log.debug({ err: error }, 'could not check the leaders of pools');
      return [];
    });
    for (const pool of won) {
      this.watched.set(
        pool,
        this.wakeUps.watch(`pool:${pool}`, () => this.pump(pool)),
      );
      this.pump(pool);
    }
  }

  /**
   * Assigns jobs until none in the pool may start or no worker has a free slot. Calls while it is running make it
   * check again.
   */
  private pump(pool: string): void {
    if (this.closing) return;
    this.requestedPools.add(pool);
    if (this.busy.has(pool)) return;
    const work = this.drain(pool)
      .catch((error: unknown) => log.warn({ err: error, pool }, 'could not assign a job; retrying'))
      .finally(() => {
        this.busy.delete(pool);
        // Requested after the last check.
        if (this.requestedPools.has(pool)) this.pump(pool);
      });
    this.busy.set(pool, work);
  }

  private async drain(pool: string): Promise<void> {
    while (this.requestedPools.delete(pool)) {
      while (!this.closing && this.leadership.leads(pool) && !this.pauses.isPaused(pool)) {
        if (!(await this.candidates.any(pool))) break;
        if (await this.assignSeveral(pool)) continue;
        if (!(await this.assignNext(pool))) break;
      }
    }
  }

  /** Assigns several jobs at a time. Returns false if it assigned none; then the caller assigns one at a time. */
  private async assignSeveral(pool: string): Promise<boolean> {
    const jobs = await this.batches.next(pool);
    if (jobs.length < 2) return false;
    const bases = [...new Set(jobs.map((job) => job.base_id))];
    const pairs = match(jobs, await this.candidates.withFreeSlots(pool, bases, jobs.length));
    if (pairs.length < 2) return false;
    const given = await this.batches.take(pool, pairs);
    this.drop(pool, given.length);
    for (const { taken, worker } of given) this.assign(taken, worker);
    return given.length > 0;
  }

  /** Assigns the next job. Returns false if no queued job may start now or no worker has a free slot. */
  private async assignNext(pool: string): Promise<boolean> {
    for (const worker of await this.candidates.best(pool))
      if (await this.assignTo(worker)) return true;
    if (!(await this.leases.hasQueued(pool))) this.drop(pool, MOST_DROPPED);
    return false;
  }

  /** Returns false if no queued job may start on the worker. */
  private async assignTo(worker: Candidate): Promise<boolean> {
    const taken = await this.leases.take(worker);
    if (taken === 'none') return false;
    // The worker lost its last free slot, or was cordoned, since it was chosen. Another one may have a free slot.
    if (taken === 'full') return true;
    if (taken === 'unfit') {
      const reason = await this.workers.unfit(worker);
      if (reason) await this.link.fail(worker, reason);
      return true;
    }
    this.drop(worker.pool, 1);
    this.assign(taken, worker);
    return true;
  }

  /** Drops the tokens of assigned jobs. A missing token or an unavailable queue does not prevent an assignment. */
  private drop(pool: string, most: number): void {
    const drop = async (): Promise<void> => {
      for (let n = 0; n < most; n++) if (!(await this.dispatch.queue.take(pool))) return;
    };
    this.inBackground(drop(), { pool }, 'could not drop a queue token');
  }

  /**
   * Sends a job in the background: the worker's API process may respond slowly, and the next job should not wait for
   * that.
   */
  private assign(taken: LeasedJob, worker: Candidate): void {
    this.inBackground(this.prepare(taken, worker), { job: taken.id }, 'could not send a job');
  }

  private async prepare(taken: LeasedJob, worker: Candidate): Promise<void> {
    let value: Assignment;
    try {
      value = await this.assignments.of(taken);
    } catch (error) {
      const fault = faultOf(error, 'storage');
      if (isDependency(fault)) return this.postpone(taken, worker, { fault, error });
      // Errors of disks and S3 that are not in our tables.
      if (fault === 'unknown') return this.postpone(taken, worker, { fault: 'storage', error });
      if (!(error instanceof DomainError) || fault === 'bug')
        return this.onPrepareError(taken, worker, error);
      // The job cannot be sent to any worker, so a retry would not help.
      return this.failUnassignable(taken, worker, error);
    }
    this.pauses.markWorking(worker.pool);
    return this.send(taken, worker, value);
  }

  private inBackground(work: Promise<void>, about: object, failed: string): void {
    const settled = work
      .catch((error: unknown) => log.warn({ err: error, ...about }, failed))
      .finally(() => this.background.delete(settled));
    this.background.add(settled);
  }

  private async send(taken: LeasedJob, worker: Candidate, value: Assignment): Promise<void> {
    const { id: job, attempt } = taken;
    try {
      const sent = await this.link.send(worker, { $case: 'assignment', value });
      log.info({ job, attempt, worker: worker.workerId, sent }, 'assigned');
      if (sent) return;
      await this.workers.lost(worker);
      await this.outcomes.requeueUnsent(taken, 'The worker could not be reached');
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      if (error.code === 'request_too_large') return this.failUnassignable(taken, worker, error);
      // The assignment may have arrived. If so, the worker renews the lease; otherwise, the lease expires.
      log.warn({ err: error, job, attempt }, 'could not determine whether an assignment arrived');
    }
  }

  /**
   * Returns the job to the queue without using up a retry, and pauses the pool, because the next job would fail in
   * the same way.
   */
  private async postpone(
    taken: LeasedJob,
    worker: Candidate,
    { fault, error }: { fault: Dependency; error: unknown },
  ): Promise<void> {
    const { id: job, attempt } = taken;
    log.warn({ err: error, job, attempt, fault }, 'could not prepare a job; it stays in the queue');
    this.pauses.begin(worker.pool, () => this.pump(worker.pool));
    await this.retryUntilWritten(() => this.outcomes.delay(taken, fault));
    await this.workers.freeSlot(worker);
  }

  /** Repeats a change until the database responds. Otherwise the lease would expire, which counts against the job. */
  private async retryUntilWritten(work: () => Promise<void>): Promise<void> {
    do
      try {
        return await work();
      } catch (error) {
        log.warn({ err: error }, 'could not return an attempt to the queue; retrying');
        await new Promise((resolve) => setTimeout(resolve, RETURN_MS));
      }
    while (!this.closing);
  }

  /** Retries the job without pausing the pool: other jobs may not run into the defect. */
  private async onPrepareError(taken: LeasedJob, worker: Candidate, error: unknown): Promise<void> {
    const { id: job, attempt } = taken;
    log.error(
      { err: error, job, attempt },
      'could not prepare a job because of a bug in the server',
    );
    await this.retryUntilWritten(() => this.outcomes.retryUnprepared(taken));
    await this.workers.freeSlot(worker);
    this.pump(worker.pool);
  }

  /** Fails a job that cannot be sent, and frees its slot. */
  private async failUnassignable(
    taken: LeasedJob,
    worker: Candidate,
    error: DomainError,
  ): Promise<void> {
    await this.outcomes.failUnassignable(taken, error);
    await this.workers.freeSlot(worker);
    this.pump(worker.pool);
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    for (const unwatch of this.watched.values()) unwatch();
    await Promise.allSettled([...this.busy.values(), ...this.background]);
  }
}
