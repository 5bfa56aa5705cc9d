import { openSync, readFileSync, readSync } from 'node:fs';
import { KernelError } from './errors.js';
import { native } from './native.js';

/** Threads that one kernel may use. The worker sets it; libtorch's default is the number of cores. */
export function setThreads(n: number): void {
  if (!Number.isInteger(n) || n < 1) {
    throw new KernelError('setThreads', `setThreads: expected an integer ≥ 1, got ${n}`);
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
  cudaDevices: number;
  threads: number;
  /** Graft's own operators */
  ownOps: string[];
  /** the matrix library libtorch was built with, e.g. `mkl` or `generic` */
  blas: string;
}

export function kernelsInfo(): KernelsInfo {
  const { libtorch, cuda, blas, ownOps } = native().build();
  return { libtorch, cuda, cudaDevices: native().devices(), blas, ownOps, threads: getThreads() };
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

let statm: { readonly fd: number; readonly page: number } | null = null;
const STATM = Buffer.alloc(128);

/** Bytes that this process has allocated and uses, without mapped files. Takes 2 µs. */
export function anonymousBytes(): number {
  const pages = (): number[] => {
    const { fd } = statm as { fd: number };
    return STATM.toString('latin1', 0, readSync(fd, STATM, 0, STATM.length, 0))
      .split(' ')
      .map(Number);
  };
  if (statm === null) {
    statm = { fd: openSync('/proc/self/statm', 'r'), page: 4096 };
    // The unit is a page, which is larger on some processors.
    const page = 2 ** Math.round(Math.log2(memory().rssBytes / (pages()[1] as number)));
    statm = { ...statm, page };
  }
  const [, resident = 0, shared = 0] = pages();
  return (resident - shared) * statm.page;
}

/**
 * Returns freed memory to the system. Otherwise the allocator keeps it for reuse, which avoids page faults for a step's
 * temporaries. Call this after freeing something large, such as a base model.
 */
export function trimMemory(): void {
  native().trim();
}
