import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { BlobStore } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { log } from '../log.js';

const MOST_MS = 30_000;

interface Pause {
  readonly failures: number;
  /** Null: it is over, and the next job shows whether for good. */
  readonly timer: NodeJS.Timeout | null;
}

/**
 * Pools that are given nothing for a while, since something that the service stands on failed while a job was prepared.
 * Each failure in a row doubles the while. While the blobs' place is not there, no job is taken to find that out.
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

  /** Jobs that were taken before the pause began change nothing about it. */
  begin(pool: string, resume: () => void): void {
    if (!this.isPaused(pool)) this.wait(pool, resume);
  }

  /** A job of the pool was prepared. */
  worked(pool: string): void {
    if (!this.isPaused(pool)) this.pauses.delete(pool);
  }

  private wait(pool: string, resume: () => void): void {
    if (this.closing) return;
    const failures = (this.pauses.get(pool)?.failures ?? 0) + 1;
    const ms = Math.min(MOST_MS, (this.settings.retryBackoffMs / 5) * 2 ** (failures - 1));
    const timer = setTimeout(() => void this.look(pool, resume), ms);
    this.pauses.set(pool, { failures, timer });
    log.warn({ pool, ms }, 'a pool is given no jobs for a while');
  }

  private async look(pool: string, resume: () => void): Promise<void> {
    try {
      await this.blobs.prove();
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
