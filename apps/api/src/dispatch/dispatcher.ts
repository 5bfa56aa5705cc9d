import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '@graft/contracts';
import { Connections, type Connection } from '../gateway/connections.js';
import { Workers } from '../gateway/workers.js';
import { log } from '../log.js';
import type { Hint } from './hint-queue.js';
import { Endings } from './endings.js';
import { HINTS, type HintQueueRef } from './hints.js';
import { Leases, type Taken } from './lease.js';
import { Outbox } from './outbox.js';

/** Looks again even when nothing happened here: hints may come from another API process. */
const IDLE_MS = 1_000;

/** Brings hints and workers with room together, one pool at a time. */
@Injectable()
export class Dispatcher implements OnModuleDestroy {
  private readonly busy = new Map<string, Promise<void>>();
  private readonly asked = new Set<string>();
  private timer: NodeJS.Timeout | null = null;
  private closing = false;

  constructor(
    private readonly connections: Connections,
    private readonly leases: Leases,
    private readonly workers: Workers,
    private readonly endings: Endings,
    private readonly outbox: Outbox,
    @Inject(HINTS) private readonly hints: HintQueueRef,
  ) {}

  start(): void {
    this.outbox.onRelayed((pool) => this.pump(pool));
    this.connections.onRoom((pool) => this.pump(pool));
    this.timer = setInterval(() => {
      for (const pool of new Set(this.connections.all().map((c) => c.pool))) this.pump(pool);
    }, IDLE_MS);
  }

  /** Assigns until the pool has no hint or no room. Calls while it runs make it look once more. */
  pump(pool: string): void {
    if (this.closing) return;
    this.asked.add(pool);
    if (this.busy.has(pool)) return;
    const work = this.drain(pool)
      .catch((error: unknown) => log.warn({ err: error, pool }, 'could not assign; trying again'))
      .finally(() => {
        this.busy.delete(pool);
        // Asked for between the last look and here.
        if (this.asked.has(pool)) this.pump(pool);
      });
    this.busy.set(pool, work);
  }

  private async drain(pool: string): Promise<void> {
    while (this.asked.delete(pool)) {
      while (!this.closing && this.connections.withRoom(pool, null)) {
        if (!(await this.assignNext(pool))) break;
      }
    }
  }

  /** False when the queue is empty. */
  private async assignNext(pool: string): Promise<boolean> {
    const hint = await this.hints.queue.take(pool);
    if (!hint) return false;
    const baseId = await this.leases.baseOf(hint);
    if (baseId === null) return true;
    const worker = this.connections.withRoom(pool, baseId);
    if (!worker) {
      // The room went away meanwhile.
      await this.putBack(hint);
      return false;
    }
    const taken = await this.leases.take(hint, worker);
    if (taken === 'stale') return true;
    if (taken === 'unfit') {
      await this.putBack(hint);
      const reason = await this.workers.unfit(worker);
      if (reason) worker.fail(reason);
      return true;
    }
    await this.assign(taken, worker);
    return true;
  }

  private async assign(taken: Taken, worker: Connection): Promise<void> {
    worker.freeSlots--;
    try {
      const value = await this.leases.assignment(taken);
      const sent = worker.send({ $case: 'assignment', value });
      log.info({ job: taken.id, epoch: taken.epoch, worker: worker.workerId, sent }, 'assigned');
    } catch (error) {
      worker.freeSlots++;
      if (!(error instanceof DomainError)) throw error;
      // It cannot be sent to any worker, however often it is tried.
      await this.endings.refused(taken, error);
    }
  }

  /** The hint goes back where it was. */
  private putBack(hint: Hint): Promise<void> {
    return this.hints.queue.add(hint, `b${Date.now()}`);
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    await Promise.allSettled(this.busy.values());
  }
}
