import { DomainError } from '@graft/contracts';
import { log } from '../log.js';
import type { Topic, WakeUps } from '../wake/wake-ups.js';

/** Polling interval. An announcement may be lost with its connection. */
const POLL_MS = 5_000;
/** Minimum time between two reads. Changes in between are read together. */
const EVERY_MS = 250;
const RETRY_MS = 1_000;

/**
 * One reader for many watchers. While there are watchers, it reads after each announcement and every few
 * seconds, and wakes all watchers.
 */
export abstract class Feed {
  private watchers = 0;
  private announced = 0;
  private readUpTo = -1;
  private running: Promise<void> | null = null;
  private wakeReader: () => void = () => undefined;
  private waiting: (() => void)[] = [];
  /** Number of completed reads. */
  reads = 0;
  /** Error that ended the feed, for example because its job was deleted. */
  failed: DomainError | null = null;

  constructor(
    private readonly wakeUps: WakeUps,
    private readonly topic: Topic,
  ) {}

  /** Reads the changes since the last read. */
  protected abstract readChanges(): Promise<void>;

  /** Adds a watcher. The returned function removes it, and returns true if it was the last one. */
  watch(): () => boolean {
    this.watchers++;
    this.running ??= this.run();
    return () => {
      if (--this.watchers > 0) return false;
      this.wakeReader();
      return true;
    };
  }

  /** Waits for a read that includes all changes announced so far. A new feed waits for its first read. */
  async current(): Promise<void> {
    const { announced } = this;
    while (this.readUpTo < announced && !this.failed) {
      const { reads: looks } = this;
      await new Promise<void>((resolve) => this.after(looks, resolve));
    }
  }

  /** Calls back when there was another read after the `seen`th one, or when the feed has ended. */
  after(seen: number, then: () => void): void {
    if (this.reads !== seen || this.failed) then();
    else this.waiting.push(then);
  }

  private changed(): void {
    this.announced++;
    this.wakeReader();
  }

  private async run(): Promise<void> {
    const unwatch = this.wakeUps.watch(this.topic, () => this.changed());
    try {
      while (this.watchers > 0 && !this.failed) {
        const before = this.announced;
        const pause = await this.tryToRead(before);
        await new Promise((resolve) => setTimeout(resolve, pause).unref());
        if (this.announced !== before || pause !== EVERY_MS) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, POLL_MS).unref();
          this.wakeReader = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    } finally {
      unwatch();
      this.running = null;
      this.wakeReader = () => undefined;
    }
  }

  /**
   * Reads, and returns the pause before the next read in milliseconds. If the database is unavailable, the
   * streams stay open.
   */
  private async tryToRead(announced: number): Promise<number> {
    try {
      await this.readChanges();
      this.readUpTo = announced;
      this.reads++;
    } catch (error) {
      if (!(error instanceof DomainError)) {
        log.warn(
          { err: error, topic: this.topic },
          'could not read changes for an event stream; retrying',
        );
        return RETRY_MS;
      }
      this.failed = error;
    }
    for (const wake of this.waiting.splice(0)) wake();
    return EVERY_MS;
  }
}
