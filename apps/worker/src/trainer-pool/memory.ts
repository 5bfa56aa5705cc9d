import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';

/** Bytes a new trainer may take: what the system, or our control group if tighter, has left. */
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

/** The page cache counts as used in a control group but goes away when asked. */
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
    return ''; // no control group of version 2 here: the system's own figure counts
  }
}

/** Bytes that a process has allocated; what is mapped from files counts as the system's free memory, as it does there. */
export const allocatedBy = (pid: number): number => statusOf(pid, 'RssAnon');

/** Bytes that a process has in memory, what it maps from files included. */
export const residentIn = (pid: number): number => statusOf(pid, 'VmRSS');

function statusOf(pid: number, field: 'RssAnon' | 'VmRSS'): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  } catch {
    return 0; // gone
  }
}
