import { DomainError } from '@graft/contracts';

/** Lets so many work at once; others wait for a slot, in order, and so many at most. */
export class Slots {
  private working = 0;
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly atOnce: number,
    private readonly mostWaiting: number,
    private readonly full = 'too many files are being converted; try again later',
  ) {}

  /** Waits for a slot; call what comes back to free it. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.working < this.atOnce) this.working++;
    else await this.wait(signal);
    return () => this.next();
  }

  private wait(signal: AbortSignal): Promise<void> {
    if (this.waiting.size >= this.mostWaiting) throw new DomainError('unavailable', this.full);
    return new Promise((resolve, reject) => {
      const called = (): void => {
        signal.removeEventListener('abort', left);
        resolve();
      };
      const left = (): void => {
        this.waiting.delete(called);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', left, { once: true });
      this.waiting.add(called);
    });
  }

  /** Hands the slot on. */
  private next(): void {
    const [called] = this.waiting;
    if (!called) {
      this.working--;
      return;
    }
    this.waiting.delete(called);
    called();
  }
}
