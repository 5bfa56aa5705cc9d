/**
 * Device of this process. A process holds one base model on one device, so all its tensors are on that device, and no
 * other code passes a device on.
 */
import { KernelError } from './errors.js';
import { native } from './native.js';
import { anonymousBytes, memory } from './runtime.js';

/** Devices. `meta` has shapes without values; it detects tensors that ignore the device. */
export type Device = 'cpu' | 'meta' | `cuda:${number}`;

// Stored on the addon's exports like the exchange buffer, so that two copies of this module share it.
const host = (): { device?: Device } => native() as { device?: Device };

/** Device of new tensors: `cpu` unless `setDevice` was called. */
export const device = (): Device => host().device ?? 'cpu';

/**
 * Sets the device of all new tensors. Call it before any tensor is created.
 * @throws KernelError if this machine, or this build of libtorch, does not have the device
 */
export function setDevice(requested: string): void {
  const index = /^cuda:(\d+)$/.exec(requested)?.[1];
  const count = native().devices();
  if (index !== undefined && Number(index) >= count) {
    const there = native().build().cuda
      ? `this machine has ${count}`
      : 'libtorch was built without CUDA';
    throw new KernelError('setDevice', `setDevice: CUDA device ${index} not found: ${there}`);
  }
  if (index === undefined && requested !== 'cpu' && requested !== 'meta')
    throw new KernelError('setDevice', `setDevice: expected cpu or cuda:N, got ${requested}`);
  host().device = requested as Device;
}

export interface DeviceMemory {
  /** Memory allocated by libtorch for this process, now and at its peak. */
  readonly heldBytes: number;
  readonly peakBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Memory of this process's CUDA device; null on the CPU, and for libtorch before 2.10. */
export function deviceMemory(): DeviceMemory | null {
  const index = /^cuda:(\d+)$/.exec(device())?.[1];
  const found = index === undefined ? null : native().deviceMemory(Number(index));
  if (found === null) return null;
  const [heldBytes, peakBytes, freeBytes, totalBytes] = found;
  return { heldBytes, peakBytes, freeBytes, totalBytes };
}

/** Device memory that this process uses, now and at its peak, in bytes. On the CPU: its resident memory. */
export function usedMemory(): { bytes: number; peakBytes: number } {
  const held = deviceMemory();
  if (held) return { bytes: held.heldBytes, peakBytes: held.peakBytes };
  const { rssBytes, peakRssBytes } = memory();
  return { bytes: rssBytes, peakBytes: peakRssBytes };
}

/**
 * Memory that this process has allocated on its device, in bytes. On the CPU, files that are mapped (such as weights)
 * do not count.
 */
export const allocatedBytes = (): number => deviceMemory()?.heldBytes ?? anonymousBytes();
