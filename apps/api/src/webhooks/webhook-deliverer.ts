import { performance } from 'node:perf_hooks';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { log } from '../log.js';
import { WakeUps } from '../wake/wake-ups.js';
import { isOk } from './retries.js';
import { WebhookClaims, type EndpointClaim } from './webhook-claims.js';
import { DUE } from './webhook-events.js';
import { WebhookSender } from './webhook-sender.js';

/** Endpoints that this process delivers to at once. */
const MOST_ENDPOINTS = 16;
/** How long it stays with one while others wait; after a try that failed it goes on to them at once. */
const TURN_MS = 5_000;
/** For requests in progress, when the process ends: what they come to is written, or tried again. */
const PATIENCE_MS = 3_000;

/** Sends what is due: to each endpoint one event at a time, by one API process at a time, and to all in turns, by project. */
@Injectable()
export class WebhookDeliverer implements OnModuleDestroy {
  private readonly work = new Set<Promise<void>>();
  private endpoints = 0;
  private looking = false;
  private again = false;
  private timer: NodeJS.Timeout | null = null;
  private unwatch: (() => void) | null = null;
  private closing = false;

  constructor(
    private readonly claims: WebhookClaims,
    private readonly sender: WebhookSender,
    private readonly wakeUps: WakeUps,
    private readonly settings: Settings,
  ) {}

  /** Takes up what is new, what is to be tried again, and what a process has left, now and from time to time. */
  watch(): void {
    this.unwatch = this.wakeUps.watch(DUE, () => this.look());
    this.timer = setInterval(() => this.look(), Math.min(5_000, this.settings.leaseMs / 3));
    this.look();
  }

  /** One look at a time, so that no more are taken than there is room for. */
  private look(): void {
    this.again = true;
    if (this.looking || this.closing) return;
    this.looking = true;
    this.again = false;
    const looking = this.claims
      .take(MOST_ENDPOINTS - this.endpoints)
      .then((claims) => {
        for (const claim of claims) this.keep(this.deliver(claim));
      })
      .catch((error: unknown) =>
        log.warn({ err: error }, 'could not query the webhooks that are due; retrying later'),
      )
      .finally(() => {
        this.looking = false;
        if (this.again) this.look();
      });
    this.keep(looking);
  }

  private keep(work: Promise<void>): void {
    this.work.add(work);
    void work.finally(() => this.work.delete(work));
  }

  /** Never rejects. */
  private async deliver(claim: EndpointClaim): Promise<void> {
    this.endpoints++;
    const warn = (error: unknown): void =>
      log.warn({ err: error, endpoint: claim.id }, 'could not deliver webhooks; retrying later');
    const isOver = await this.sendAll(claim).catch(warn);
    await this.claims.leave(claim).catch(warn);
    this.endpoints--;
    // For whoever waits, and for what was written between the last look and here.
    if (isOver) this.look();
  }

  /** True once nothing is due, or its turn is over. */
  private async sendAll(claim: EndpointClaim): Promise<boolean> {
    const end = performance.now() + TURN_MS;
    while (!this.closing) {
      const due = await this.claims.next(claim);
      if (!due) return true;
      const tried = await this.sender.send(due);
      if (!(await this.claims.record(claim, due, tried))) return true;
      if (!isOk(tried) || performance.now() > end) return true;
    }
    return false;
  }

  async onModuleDestroy(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    this.unwatch?.();
    await Promise.race([
      Promise.allSettled(this.work),
      new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref()),
    ]);
  }
}
