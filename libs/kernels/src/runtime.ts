import { readFileSync } from 'node:fs';
import { KernelError } from './errors.js';
import { native } from './native.js';

/** Threads that one kernel may use. The worker sets it; libtorch's default is the number of cores. */
export function setThreads(n: number): void {
  if (!Number.isInteger(n) || n < 1) {
    throw new KernelError('setThreads', `setThreads: a whole number from 1 is wanted, got ${n}`);
  }
  native().setThreads(n);
}

export function getThreads(): number {
  return native().threads();
}

export interface KernelsInfo {
  /** libtorch's version, e.g. `2.13.0` */
  libtorch: string;
  /** whether a CUDA device can be used */
  cuda: boolean;
  threads: number;
  /** Graft's own operators */
  ownOps: string[];
  /** the matrix library libtorch was built with, e.g. `mkl` or `generic` */
  blas: string;
}

export function kernelsInfo(): KernelsInfo {
  const { libtorch, cuda, blas, ownOps } = native().build();
  return { libtorch, cuda, blas, ownOps, threads: getThreads() };
}

/** Live handles of this thread, and this process's resident memory, now and at its peak, in bytes. */
export function memory(): { tensors: number; rssBytes: number; peakRssBytes: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const kib = (key: string): number =>
    Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return {
    tensors: native().live(),
    rssBytes: kib('VmRSS') * 1024,
    peakRssBytes: kib('VmHWM') * 1024,
  };
}

/**
 * Gives freed memory back to the system. The allocator keeps it for reuse otherwise (a step's temporaries would be
 * page-faulted in anew each time), so call this after dropping something large, such as a base model.
 */
export function trimMemory(): void {
  native().trim();
}
