import { statfs } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { Settings } from '../../config.js';
import { Database } from '../../database/database.js';
import { unix } from '../../ids.js';
import { DISPATCH_QUEUE, type DispatchQueueRef } from '../../queue/dispatch-queue-ref.js';
import { WakeUps } from '../../wake/wake-ups.js';
import type { Problem, Viewer } from './problem.js';

/** Fractions of the disk below which its free space is reported. */
const [LOW, FULL] = [0.1, 0.03];
/** Seconds by which a token of the dispatch queue may be late. */
const LATE_SECONDS = 60;
/** Timeout of the queue's check in milliseconds. */
const QUEUE_MS = 500;

/** Problems of the service itself: its disk, its queue and its notifications. */
@Injectable()
export class ServiceProblems {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly wakeUps: WakeUps,
    @Inject(DISPATCH_QUEUE) private readonly dispatch: DispatchQueueRef,
  ) {}

  async of({ isAdmin }: Viewer): Promise<Problem[]> {
    const found = await Promise.all([
      isAdmin ? this.disk() : null,
      this.queue(),
      this.outbox(),
      this.notifications(),
    ]);
    return found.filter((one) => one !== null);
  }

  private async disk(): Promise<Problem | null> {
    const { blocks, bavail, bsize } = await statfs(this.settings.blobsDir);
    const free = blocks === 0 ? 1 : bavail / blocks;
    if (free >= LOW) return null;
    const gigabytes = ((bavail * bsize) / 1e9).toFixed(1);
    return {
      code: 'storage_full',
      severity: free < FULL ? 'error' : 'warning',
      title: `The disk that stores files and checkpoints has ${gigabytes} GB left (${Math.floor(100 * free)} %)`,
      action: 'Add disk space, delete jobs and files, or shorten the retention',
      ...service('storage'),
    };
  }

  private async queue(): Promise<Problem | null> {
    const isUp = await Promise.race([
      this.dispatch.queue.depth('default').then(
        () => true,
        () => false,
      ),
      setTimeout(QUEUE_MS, false, { ref: false }),
    ]);
    if (isUp) return null;
    return {
      code: 'queue_down',
      severity: 'error',
      title: `The dispatch queue (${this.dispatch.queue.backend}) does not respond: no jobs start`,
      action: 'Check the server of the queue',
      ...service('queue'),
    };
  }

  private async outbox(): Promise<Problem | null> {
    const [late] = await this.database.query<{ since: Date | null; count: number }>(
      `SELECT min(not_before) AS since, count(*)::int AS count FROM outbox
       WHERE sent_at IS NULL AND not_before < clock_timestamp() - ${LATE_SECONDS} * interval '1 second'`,
    );
    if (!late?.since) return null;
    return {
      code: 'dispatch_late',
      severity: 'error',
      title: `${late.count} jobs did not reach the dispatch queue in time`,
      action: 'Check the log of the API processes',
      ...service('dispatch'),
      since: unix(late.since),
    };
  }

  private notifications(): Problem | null {
    if (this.wakeUps.alive) return null;
    return {
      code: 'notifications_down',
      severity: 'warning',
      title: 'Notifications between the API processes do not arrive: changes appear late',
      action: 'Check the connections to PostgreSQL',
      ...service('notifications'),
    };
  }
}

const service = (name: string): Pick<Problem, 'since' | 'subject' | 'project_id'> => ({
  since: null,
  subject: { type: 'service', id: name, name },
  project_id: null,
});
