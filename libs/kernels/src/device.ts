/**
 * The device of this process. One process holds one base on one device, so whatever it makes lies there: no model, no
 * method and no loop passes a device on.
 */
import { KernelError } from './errors.js';
import { native } from './native.js';
import { anonymousBytes, memory } from './runtime.js';
import type { Device } from './tensor.js';

// Hangs on the addon's exports like the exchange buffer, so that two copies of this module agree on it.
const host = (): { device?: Device } => native() as { device?: Device };

/** Where new tensors lie: `cpu` unless `setDevice` was called. */
export const device = (): Device => host().device ?? 'cpu';

/**
 * Puts everything that is made from now on there; call it before anything is made.
 * @throws KernelError when this machine, or this build of libtorch, has no such device
 */
export function setDevice(wanted: string): void {
  const index = /^cuda:(\d+)$/.exec(wanted)?.[1];
  const count = native().devices();
  if (index !== undefined && Number(index) >= count) {
    const there = native().build().cuda
      ? `this machine has ${count}`
      : 'libtorch was built without CUDA';
    throw new KernelError('setDevice', `setDevice: CUDA device ${index} not found: ${there}`);
  }
  if (index === undefined && wanted !== 'cpu' && wanted !== 'meta')
    throw new KernelError('setDevice', `setDevice: expected cpu or cuda:N, got ${wanted}`);
  host().device = wanted as Device;
}

export interface DeviceMemory {
  /** What libtorch's allocator holds for this process, now and at its peak. */
  readonly heldBytes: number;
  readonly peakBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Memory of the CUDA device that this process is on; null on the CPU, and where libtorch is older than 2.10. */
export function deviceMemory(): DeviceMemory | null {
  const index = /^cuda:(\d+)$/.exec(device())?.[1];
  const found = index === undefined ? null : native().deviceMemory(Number(index));
  if (found === null) return null;
  const [heldBytes, peakBytes, freeBytes, totalBytes] = found;
  return { heldBytes, peakBytes, freeBytes, totalBytes };
}

/** What this process takes of its device's memory, now and at its peak, in bytes: on the CPU its resident memory. */
export function usedMemory(): { bytes: number; peakBytes: number } {
  const held = deviceMemory();
  if (held) return { bytes: held.heldBytes, peakBytes: held.peakBytes };
  const { rssBytes, peakRssBytes } = memory();
  return { bytes: rssBytes, peakBytes: peakRssBytes };
}

/** What this process has allocated on its device: on the CPU without what is mapped from files, such as weights. */
export const allocatedBytes = (): number => deviceMemory()?.heldBytes ?? anonymousBytes();
