export interface BackoffRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Exponential backoff up to `maxMs`, with random jitter so that workers do not reconnect simultaneously. */
export class Backoff {
  private failures = 0;

  constructor(
    private readonly range: BackoffRange = { minMs: 500, maxMs: 10_000 },
    private readonly random: () => number = Math.random,
  ) {}

  next(): number {
    const { minMs, maxMs } = this.range;
    const top = Math.min(maxMs, minMs * 2 ** Math.min(++this.failures, 20));
    return minMs + this.random() * (top - minMs);
  }

  reset(): void {
    this.failures = 0;
  }
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
