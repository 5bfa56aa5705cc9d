import { DomainError } from '@graft/contracts';
import { Outage, type Dependency } from '../faults.js';

export interface Bounds {
  readonly atOnce: number;
  /** Maximum number of running tasks of one owner. */
  readonly each: number;
  readonly waiting: number;
  /** Maximum number of waiting tasks of one owner. */
  readonly waitingEach: number;
  /** Text for the error message, such as `files are being converted`. */
  readonly what: string;
  /** The part to report as unavailable (Outage) while too many wait, for callers that retry automatically. */
  readonly part?: Dependency;
}

/**
 * Limits how many tasks run concurrently. Further tasks wait for a slot, up to a maximum. Their owners
 * (projects) take turns.
 */
export class Slots {
  private readonly working = new Map<string, number>();
  /** Waiting tasks by owner, in the order in which owners get their next turn. */
  private readonly waiting = new Map<string, Set<() => void>>();

  constructor(private readonly bounds: Bounds) {}

  /**
   * Waits for a slot. Returns a function that frees it; repeated calls have no effect.
   * @throws DomainError if too many tasks wait
   */
  async take(owner: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.hasFreeSlot(owner)) this.count(owner, 1);
    else await this.wait(owner, signal);
    let isFree = false;
    return () => {
      if (isFree) return;
      isFree = true;
      this.count(owner, -1);
      this.next();
    };
  }

  private hasFreeSlot(owner: string): boolean {
    const { atOnce, each } = this.bounds;
    return sum(this.working.values()) < atOnce && (this.working.get(owner) ?? 0) < each;
  }

  private count(owner: string, more: 1 | -1): void {
    const now = (this.working.get(owner) ?? 0) + more;
    if (now === 0) this.working.delete(owner);
    else this.working.set(owner, now);
  }

  private wait(owner: string, signal: AbortSignal): Promise<void> {
    const own = this.waiting.get(owner) ?? new Set<() => void>();
    this.refuseTooMany(own.size);
    this.waiting.set(owner, own);
    return new Promise((resolve, reject) => {
      const called = (): void => {
        this.removeWaiting(owner, called);
        signal.removeEventListener('abort', left);
        this.count(owner, 1);
        resolve();
      };
      const left = (): void => {
        this.removeWaiting(owner, called);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', left, { once: true });
      own.add(called);
    });
  }

  private refuseTooMany(own: number): void {
    const { waiting, waitingEach, what } = this.bounds;
    if (own >= waitingEach)
      throw this.refusal(
        `too many ${what} for this project: ${own} wait; try again when they are done`,
      );
    if (sum([...this.waiting.values()].map(({ size }) => size)) >= waiting)
      throw this.refusal(`too many ${what}; try again later`);
  }

  private refusal(message: string): DomainError {
    const { part } = this.bounds;
    return part ? new Outage(part, message) : new DomainError('unavailable', message);
  }

  private removeWaiting(owner: string, called: () => void): void {
    const own = this.waiting.get(owner);
    own?.delete(called);
    if (own?.size === 0) this.waiting.delete(owner);
  }

  /** Gives a free slot to the next owner in turn. */
  private next(): void {
    for (const [owner, own] of this.waiting) {
      const [called] = own;
      if (!called || !this.hasFreeSlot(owner)) continue;
      // Move this owner to the end of the order.
      this.waiting.delete(owner);
      this.waiting.set(owner, own);
      return called();
    }
  }
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((all, one) => all + one, 0);
