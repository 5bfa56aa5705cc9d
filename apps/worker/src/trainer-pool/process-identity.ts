import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** Process ID and start time, which distinguishes a process from a later one with the same ID. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startedAt: string;
}

export function writeIdentity(path: string, pid: number): void {
  const identity: ProcessIdentity = { pid, startedAt: startOf(pid) };
  writeFileSync(path, JSON.stringify(identity));
}

/** Returns the process in the file if it is still running. */
export function readAlive(path: string): ProcessIdentity | null {
  const identity = read(path);
  if (identity === null) return null;
  const startedAt = startOf(identity.pid);
  return startedAt !== '' && startedAt === identity.startedAt ? identity : null;
}

function read(path: string): ProcessIdentity | null {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('startedAt' in value))
      return null;
    return { pid: Number(value.pid), startedAt: String(value.startedAt) };
  } catch {
    return null; // missing, or incomplete after a crash
  }
}

/** Returns the start time of a process; empty if it does not exist or is a zombie. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may contain spaces. The state is field 3, the start time in clock ticks field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z') return '';
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19] ?? ''}`;
  } catch {
    if (process.platform === 'linux') return '';
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}
