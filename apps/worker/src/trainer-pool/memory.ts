import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';

/** Returns the free memory for new trainers: the system's, or the control group's if less. */
export function freeMemory(): number {
  const limit = controlGroup('memory.max');
  const used = controlGroup('memory.current');
  const grouped =
    limit === null || used === null ? Infinity : Math.max(0, limit - used + reclaimable());
  return Math.min(freemem(), grouped);
}

export function totalMemory(): number {
  return Math.min(totalmem(), controlGroup('memory.max') ?? Infinity);
}

/** Page cache, which counts as used in a control group but can be reclaimed. */
function reclaimable(): number {
  return Number(/^inactive_file (\d+)$/m.exec(read('memory.stat'))?.[1] ?? 0);
}

function controlGroup(file: string): number | null {
  const value = Number(read(file).trim() || NaN);
  return Number.isFinite(value) ? value : null;
}

function read(file: string): string {
  try {
    return readFileSync(`/sys/fs/cgroup/${file}`, 'utf8');
  } catch {
    return ''; // no control group v2; use the system's figure
  }
}

/** Returns the anonymous memory of a process. Mapped files are excluded, since the system counts them as free. */
export const allocatedBy = (pid: number): number => statusOf(pid, 'RssAnon');

/** Returns the resident memory of a process, including mapped files. */
export const residentIn = (pid: number): number => statusOf(pid, 'VmRSS');

function statusOf(pid: number, field: 'RssAnon' | 'VmRSS'): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  } catch {
    return 0; // the process has exited
  }
}
