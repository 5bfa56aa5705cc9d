import type { HintQueue } from './hint-queue.js';

/** Injection token of the hint queue. */
export const HINTS = Symbol('hints');

export interface HintQueueRef {
  readonly queue: HintQueue;
}
