import { performance } from 'node:perf_hooks';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Settings } from '../config.js';
import { log } from '../log.js';
import { WakeUps } from '../wake/wake-ups.js';
import { isOk } from './retries.js';
import { WebhookClaims, type EndpointClaim } from './webhook-claims.js';
import { DUE } from './webhook-events.js';
import { WebhookSender } from './webhook-sender.js';

/** Maximum number of endpoints that this process delivers to concurrently. */
const MOST_ENDPOINTS = 16;
/**
 * Time for which a process keeps an endpoint while deliveries succeed, so that other endpoints get a turn.
 * After a failed attempt, it releases the endpoint immediately.
 */
const TURN_MS = 5_000;
/**
 * Time that shutdown waits for requests in progress and for storing their results. A delivery without a
 * stored result is sent again.
 */
const PATIENCE_MS = 3_000;

/**
 * Sends pending webhook deliveries. Each endpoint receives one event at a time, from one API process at a
 * time. Projects take turns.
 */
@Injectable()
export class WebhookDeliverer implements OnModuleDestroy {
  private readonly work = new Set<Promise<void>>();
  private endpoints = 0;
  private scanning = false;
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

  /**
   * Starts sending new deliveries, retries, and deliveries that another process left behind: on a wake-up and
   * periodically.
   */
  watch(): void {
    this.unwatch = this.wakeUps.watch(DUE, () => this.scan());
    this.timer = setInterval(() => this.scan(), Math.min(5_000, this.settings.leaseMs / 3));
    this.scan();
  }

  /** Claims endpoints. Only one claim runs at a time, so that it never takes more than MOST_ENDPOINTS. */
  private scan(): void {
    this.again = true;
    if (this.scanning || this.closing) return;
    this.scanning = true;
    this.again = false;
    const looking = this.claims
      .take(MOST_ENDPOINTS - this.endpoints)
      .then((claims) => {
        for (const claim of claims) this.track(this.deliver(claim));
      })
      .catch((error: unknown) =>
        log.warn({ err: error }, 'could not query the webhooks that are due; retrying later'),
      )
      .finally(() => {
        this.scanning = false;
        if (this.again) this.scan();
      });
    this.track(looking);
  }

  private track(work: Promise<void>): void {
    this.work.add(work);
    void work.finally(() => this.work.delete(work));
  }

  /** Never rejects. */
  private async deliver(claim: EndpointClaim): Promise<void> {
    this.endpoints++;
    const warn = (error: unknown): void =>
      log.warn({ err: error, endpoint: claim.id }, 'could not deliver webhooks; retrying later');
    const isOver = await this.sendAll(claim).catch(warn);
    await this.claims.release(claim).catch(warn);
    this.endpoints--;
    // Other endpoints may be waiting, and events may have been written since the last query.
    if (isOver) this.scan();
  }

  /** Returns true when nothing is due or the turn is over, false on shutdown. */
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
