import { log } from '../log.js';

/** Claim of this process on a row. Another process may take the row over once the claim is no longer renewed. */
export interface Claim {
  readonly id: string;
  readonly owner: string;
}

/** A kind of background work, with the claims on its rows. */
export interface ClaimedKind<C extends Claim> {
  /** Plural noun for the log, such as `eval runs`. */
  readonly what: string;
  /** Maximum number of rows that this process works on concurrently. */
  readonly most: number;
  readonly leaseMs: number;
  readonly claims: {
    /** Claims rows that no process works on. */
    take(most: number): Promise<C[]>;
    /** Returns false if the claim no longer holds. */
    renew(claim: C): Promise<boolean>;
    /** Releases the row, so that another process may continue it immediately. */
    release(claim: C): Promise<void>;
  };
  /** Works on a row until it is done or has to wait, or until `stop` aborts. */
  readonly work: (claim: C, stop: AbortSignal) => Promise<void>;
}

/**
 * Background work on rows of a table. One API process at a time works on a row, and renews its claim meanwhile. If that
 * process dies, another one continues.
 */
export class ClaimedWork<C extends Claim> {
  private readonly running = new Map<string, AbortController>();
  private readonly work = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | null = null;
  private isLooking = false;
  private again = false;
  private closing = false;

  constructor(private readonly kind: ClaimedKind<C>) {}

  /** Whether this process works on as many rows as it may. */
  get isFull(): boolean {
    return this.running.size >= this.kind.most;
  }

  /** Takes new rows and those that other processes left unfinished, now and at regular intervals. */
  watch(): void {
    this.timer = setInterval(() => this.scan(), Math.min(5_000, this.kind.leaseMs / 3));
    this.scan();
  }

  /** Looks for rows now, or after some milliseconds. */
  scan(afterMs = 0): void {
    if (afterMs > 0) return void setTimeout(() => this.scan(), afterMs).unref();
    this.again = true;
    if (this.isLooking) return;
    this.isLooking = true;
    void this.track(this.scanRepeatedly());
  }

  /** Claims rows. Only one call runs at a time, since two would fill the same slots. It never rejects. */
  private async scanRepeatedly(): Promise<void> {
    const { what, most, claims } = this.kind;
    try {
      while (this.again && !this.closing) {
        this.again = false;
        for (const claim of await claims.take(most - this.running.size)) void this.run(claim);
      }
    } catch (error) {
      log.warn({ err: error }, `could not claim ${what}`);
    } finally {
      this.isLooking = false;
    }
  }

  /** Stops work on a row that was canceled or deleted. Another process notices when it renews its claim. */
  stop(id: string): void {
    this.running.get(id)?.abort();
  }

  /** Works on a row that this process has claimed. It never rejects. */
  run(claim: C, work = this.kind.work): Promise<void> {
    return this.track(this.runClaimed(claim, work));
  }

  private track(work: Promise<void>): Promise<void> {
    this.work.add(work);
    return work.finally(() => this.work.delete(work));
  }

  private async runClaimed(claim: C, work: ClaimedKind<C>['work']): Promise<void> {
    const { what, leaseMs, claims } = this.kind;
    const stop = new AbortController();
    const warn = (doing: string) => (error: unknown) =>
      log.warn({ err: error, id: claim.id }, `${what}: ${doing}`);
    this.running.set(claim.id, stop);
    const timer = setInterval(() => {
      claims
        .renew(claim)
        .then((isOwned) => isOwned || stop.abort(), warn('could not renew a claim'));
    }, leaseMs / 3);
    try {
      if (!this.closing) await work(claim, stop.signal);
    } catch (error) {
      warn('the work was interrupted and will be resumed')(error);
      // Wait, because the cause may persist.
      await new Promise((resolve) => setTimeout(resolve, this.closing ? 0 : 1_000));
    } finally {
      clearInterval(timer);
      // This process may have claimed the row again.
      if (this.running.get(claim.id) === stop) this.running.delete(claim.id);
    }
    await claims.release(claim).catch(warn('could not release a claim'));
    this.scan();
  }

  /** Stops all work and waits for it, at most 3 seconds. */
  async close(): Promise<void> {
    this.closing = true;
    if (this.timer) clearInterval(this.timer);
    for (const stop of this.running.values()) stop.abort();
    await Promise.race([
      Promise.allSettled(this.work),
      new Promise((resolve) => setTimeout(resolve, 3000).unref()),
    ]);
  }
}
