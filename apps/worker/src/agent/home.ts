import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '@graft/contracts';
import { removeWritten } from '../blobs/written-folder.js';
import { readAlive, writeIdentity } from '../trainer-pool/process-identity.js';

/** Folders that are recreated at every start. */
const EMPTIED = ['runs', 'bases'] as const;

/** Home folder of a worker: cache, spool, run folders, base folders and PID files. */
export class Home {
  constructor(private readonly path: string) {
    mkdirSync(path, { recursive: true });
  }

  folder(name: 'cache' | 'spool' | 'runs' | 'bases' | 'trainers'): string {
    return join(this.path, name);
  }

  /** @throws DomainError if another worker uses the folder */
  claim(): void {
    const other = readAlive(this.pidFile);
    if (other !== null && other.pid !== process.pid)
      throw new DomainError(
        'conflict',
        `worker ${other.pid} already uses this --home; set a different --home for each worker`,
        'home',
      );
    writeIdentity(this.pidFile, process.pid);
  }

  release(): void {
    rmSync(this.pidFile, { force: true });
  }

  /** Key that identifies the worker to the control plane across restarts; undefined before it has joined. */
  get workerKey(): string | undefined {
    try {
      return readFileSync(this.keyFile, 'utf8').trim() || undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  keepKey(key: string): void {
    const temporary = `${this.keyFile}.tmp`;
    writeFileSync(temporary, `${key}\n`, { mode: 0o600 });
    renameSync(temporary, this.keyFile);
  }

  forgetKey(): void {
    rmSync(this.keyFile, { force: true });
  }

  /**
   * Empties the folders of runs and bases. Files that cannot be removed are moved aside, out of the trainers' reach, so that
   * a run cannot prevent the worker from starting.
   * @returns error messages of failed removals
   */
  async empty(): Promise<string[]> {
    const aside = join(this.path, 'not-removed');
    const reasons: string[] = [];
    const complain = (error: Error) => void reasons.push(error.message);
    await removeWritten(aside).catch(complain);
    for (const name of EMPTIED) {
      const path = this.folder(name);
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

  /** Lets the trainers' user traverse to its own folders without listing any. */
  async grantAccess(): Promise<void> {
    for (const path of [this.path, this.folder('runs'), this.folder('bases')])
      await chmod(path, 0o711);
    for (const name of ['cache', 'spool'] as const) await chmod(this.folder(name), 0o700);
  }

  private get keyFile(): string {
    return join(this.path, 'worker-key');
  }

  private get pidFile(): string {
    return join(this.path, 'worker.pid');
  }
}
