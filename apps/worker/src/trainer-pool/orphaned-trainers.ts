import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readAlive, writeIdentity } from './process-identity.js';

/** PID files of trainers, with which the next worker in this home finds trainers that outlived this one. */
export class OrphanedTrainers {
  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true });
  }

  track(pid: number): void {
    writeIdentity(this.file(pid), pid);
  }

  untrack(pid: number): void {
    rmSync(this.file(pid), { force: true });
  }

  /** Kills all trainers of a previous worker in this home. Returns their PIDs. */
  killAll(): number[] {
    const killed: number[] = [];
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      const found = readAlive(path);
      if (found !== null) {
        killGroup(found.pid);
        killed.push(found.pid);
      }
      rmSync(path, { force: true });
    }
    return killed;
  }

  private file(pid: number): string {
    return join(this.folder, `${pid}.pid`);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
