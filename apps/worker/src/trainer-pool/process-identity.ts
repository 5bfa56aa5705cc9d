import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** A process told apart from a later one with the same number by the moment it started. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startedAt: string;
}

export function writeIdentity(path: string, pid: number): void {
  const identity: ProcessIdentity = { pid, startedAt: startOf(pid) };
  writeFileSync(path, JSON.stringify(identity));
}

/** The process that the file names, if it still runs. */
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
    return null; // absent or torn by a crash: nobody to find
  }
}

/** Empty if there is no such process (a zombie counts as gone). */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; state is field 3 and the start, in clock ticks, field 22.
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
