import { DomainError } from '@graft/contracts';
import { log } from '../log.js';
import type { Topic, WakeUps } from '../wake/wake-ups.js';

/** Looks again even if nothing was announced: an announcement may be lost with its connection. */
const POLL_MS = 5_000;
/** Several changes within this time become one look. */
const EVERY_MS = 250;
const RETRY_MS = 1_000;

/**
 * What many watch and one reads: it looks after each announcement and every few seconds for as long as anybody watches,
 * and wakes them all.
 */
export abstract class Feed {
  private watchers = 0;
  private announced = 0;
  private looked = -1;
  private running: Promise<void> | null = null;
  private wakeReader: () => void = () => undefined;
  private waiting: (() => void)[] = [];
  /** Looks so far. */
  looks = 0;
  /** What it watches is gone. */
  failed: DomainError | null = null;

  constructor(
    private readonly wakeUps: WakeUps,
    private readonly topic: Topic,
  ) {}

  /** Reads what is new since the last look. */
  protected abstract look(): Promise<void>;

  /** Watches until the returned function is called; that says whether nobody does any more. */
  watch(): () => boolean {
    this.watchers++;
    this.running ??= this.run();
    return () => {
      if (--this.watchers > 0) return false;
      this.wakeReader();
      return true;
    };
  }

  /** Waits for a look that saw all that was announced; there is one of its own for nobody. */
  async current(): Promise<void> {
    const { announced } = this;
    while (this.looked < announced && !this.failed) {
      const { looks } = this;
      await new Promise<void>((resolve) => this.after(looks, resolve));
    }
  }

  /** Calls back once there was a look after the `seen`th one, or the feed has ended. */
  after(seen: number, then: () => void): void {
    if (this.looks !== seen || this.failed) then();
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
        const pause = await this.tryToLook(before);
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

  /** How long it is to wait until the next. The database may be away for a while: the streams stay. */
  private async tryToLook(announced: number): Promise<number> {
    try {
      await this.look();
      this.looked = announced;
      this.looks++;
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
