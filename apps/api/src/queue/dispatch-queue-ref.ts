import type { DispatchQueue } from './dispatch-queue.js';

/** Injection token of the dispatch queue. */
export const DISPATCH_QUEUE = Symbol('dispatch queue');

export interface DispatchQueueRef {
  readonly queue: DispatchQueue;
}
