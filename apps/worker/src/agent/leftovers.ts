import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { removeWritten } from './written-folder.js';

/** A process told apart from a later one with the same number by the moment it started. */
interface Identity {
  readonly pid: number;
  readonly startedAt: string;
}

/** What stays in the worker's home when it ends: pid files, its own and one per trainer, and folders of runs. */
export class Leftovers {
  private readonly folder: string;
  private readonly own: string;

  constructor(private readonly home: string) {
    this.folder = join(home, 'trainers');
    this.own = join(home, 'worker.pid');
    mkdirSync(this.folder, { recursive: true });
  }

  /** @throws DomainError if another worker lives in this home. */
  claimHome(): void {
    const other = readIdentity(this.own);
    if (other !== null && other.pid !== process.pid && isAlive(other))
      throw new DomainError(
        'conflict',
        `worker ${other.pid} already uses this --home; give each worker its own`,
        'home',
      );
    writeFileSync(this.own, JSON.stringify(identify(process.pid)));
  }

  releaseHome(): void {
    rmSync(this.own, { force: true });
  }

  note(pid: number): void {
    writeFileSync(join(this.folder, `${pid}.pid`), JSON.stringify(identify(pid)));
  }

  forget(pid: number): void {
    rmSync(join(this.folder, `${pid}.pid`), { force: true });
  }

  /** Kills every trainer that a previous worker left in this home; returns their pids. */
  killAll(): number[] {
    const killed: number[] = [];
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      const found = readIdentity(path);
      if (found !== null && isAlive(found)) {
        killGroup(found.pid);
        killed.push(found.pid);
      }
      rmSync(path, { force: true });
    }
    return killed;
  }

  /**
   * Makes these folders of the home anew. What cannot be removed is moved aside, out of the trainers' reach: a run
   * must not keep the worker from starting. Returns why, if so.
   */
  async makeEmpty(names: readonly string[]): Promise<string[]> {
    const aside = join(this.home, 'not-removed');
    const reasons: string[] = [];
    const complain = (error: Error) => void reasons.push(error.message);
    await removeWritten(aside).catch(complain);
    for (const name of names) {
      const path = join(this.home, name);
      try {
        await removeWritten(path);
      } catch (error) {
        complain(error as Error);
        await mkdir(aside, { recursive: true, mode: 0o700 });
        await rename(path, join(aside, `${name}-${randomUUID()}`));
      }
      await mkdir(path, { mode: 0o700 });
    }
    return reasons;
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function isAlive(identity: Identity): boolean {
  const startedAt = startOf(identity.pid);
  return startedAt !== '' && startedAt === identity.startedAt;
}

function identify(pid: number): Identity {
  return { pid, startedAt: startOf(pid) };
}

function readIdentity(path: string): Identity | null {
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
