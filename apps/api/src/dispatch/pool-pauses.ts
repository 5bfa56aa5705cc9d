import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { BlobStore } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { log } from '../log.js';

const MOST_MS = 30_000;

interface Pause {
  readonly failures: number;
  /** `null` when the pause is over; the next job shows whether the problem is. */
  readonly timer: NodeJS.Timeout | null;
}

/**
 * Pools that are assigned no jobs for a while because a dependency failed while a job was prepared. Each consecutive
 * failure doubles the pause. It ends only when the blob storage is available, so that no job is needed to find that
 * out.
 */
@Injectable()
export class PoolPauses implements OnModuleDestroy {
  private readonly pauses = new Map<string, Pause>();
  private closing = false;

  constructor(
    private readonly blobs: BlobStore,
    private readonly settings: Settings,
  ) {}

  isPaused(pool: string): boolean {
    return (this.pauses.get(pool)?.timer ?? null) !== null;
  }

  /** Starts a pause. Failures of jobs that were taken before the pause do not extend it. */
  begin(pool: string, resume: () => void): void {
    if (!this.isPaused(pool)) this.wait(pool, resume);
  }

  /** Records that a job of the pool was prepared. */
  markWorking(pool: string): void {
    if (!this.isPaused(pool)) this.pauses.delete(pool);
  }

  private wait(pool: string, resume: () => void): void {
    if (this.closing) return;
    const failures = (this.pauses.get(pool)?.failures ?? 0) + 1;
    const ms = Math.min(MOST_MS, (this.settings.retryBackoffMs / 5) * 2 ** (failures - 1));
    const timer = setTimeout(() => void this.retry(pool, resume), ms);
    this.pauses.set(pool, { failures, timer });
    log.warn({ pool, ms }, 'paused assigning jobs to a pool');
  }

  private async retry(pool: string, resume: () => void): Promise<void> {
    try {
      await this.blobs.checkStorage();
    } catch (error) {
      log.warn({ err: error, pool }, 'storage is not available');
      return this.wait(pool, resume);
    }
    const { failures = 1 } = this.pauses.get(pool) ?? {};
    this.pauses.set(pool, { failures, timer: null });
    resume();
  }

  onModuleDestroy(): void {
    this.closing = true;
    for (const { timer } of this.pauses.values()) if (timer) clearTimeout(timer);
  }
}
