import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import { MoreThan } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { JobEvent, type Job } from '../database/entities/job.js';
import { eventObject } from '../jobs/history-objects.js';
import { JobsRepository } from '../jobs/jobs.repository.js';
import { Notifications } from './notifications.js';
import { lastEventId, Sse } from './sse.js';

const BATCH = 500;
/** Looks again even if nothing was announced: an announcement may be lost with its connection. */
const POLL_MS = 5_000;
/** `job` events are state, not history: several changes within this time become one. */
const JOB_EVERY_MS = 250;
/** A project stream looks back this far on reconnect; longer than any transaction may take. */
const OVERLAP_MS = 20_000;

/**
 * Live streams that never lose an event: announcements only say "look again", and what is sent is read
 * from the table after the last number sent. Numbers are given under the job row's lock, so nothing with
 * a lower number can appear later.
 */
@Injectable()
export class JobStream {
  private readonly open = new Set<Sse>();

  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly notifications: Notifications,
  ) {}

  async job(caller: Principal, id: string, request: Request, response: Response): Promise<void> {
    const job = await this.jobs.row(caller.projectId, id);
    let cursor = lastEventId(request) ?? 0;
    const sse = this.start(request, response);
    if (cursor > job.event_counter) {
      sse.send('reset', {});
      cursor = 0;
    }
    await this.follow(sse, id, async () => {
      // The state is read first: the events sent after it can only be newer.
      sse.send('job', await this.jobs.object(caller.projectId, id));
      for (let rows = BATCH; rows === BATCH && sse.open;) {
        const events = await this.database.manager.getRepository(JobEvent).find({
          where: { job_id: id, number: MoreThan(cursor) },
          order: { number: 'ASC' },
          take: BATCH,
        });
        for (const event of events) sendEvent(sse, event);
        rows = events.length;
        cursor = events.at(-1)?.number ?? cursor;
        await sse.drained();
      }
    });
  }

  /**
   * `job` events of a whole project. Ids are milliseconds of the change; `ready` gives the first, so that
   * a client who has seen no change yet can come back for all that it missed.
   */
  async project(caller: Principal, request: Request, response: Response): Promise<void> {
    const last = lastEventId(request) ?? (await this.database.now()).getTime();
    let since = new Date(last - OVERLAP_MS);
    let sent = new Map<string, string>();
    const sse = this.start(request, response);
    sse.send('ready', {}, last);
    await this.follow(sse, caller.projectId, async () => {
      const seen = new Map<string, string>();
      for (let from: Date | null = since; from !== null && sse.open;) {
        const rows = await this.jobs.changed(caller.projectId, from, BATCH);
        const fresh = rows.filter((row) => (seen.get(row.id) ?? sent.get(row.id)) !== version(row));
        const objects = await this.jobs.objects(fresh);
        fresh.forEach((row, index) => sse.send('job', objects[index], row.updated_at.getTime()));
        for (const row of rows) seen.set(row.id, version(row));
        const newest: Date = rows.at(-1)?.updated_at ?? from;
        since = new Date(Math.max(since.getTime(), newest.getTime() - OVERLAP_MS));
        from = rows.length === BATCH && newest > from ? newest : null;
        await sse.drained();
      }
      // What is older than `since` is not looked at again.
      sent = seen;
    });
  }

  /** Ends all streams, so that a stopping server does not wait for them; clients come back by themselves. */
  endAll(): void {
    for (const sse of this.open) sse.end();
  }

  private start(request: Request, response: Response): Sse {
    const sse = new Sse(request, response);
    this.open.add(sse);
    void sse.closed.then(() => this.open.delete(sse));
    return sse;
  }

  /** Calls `look` now, after each announcement and every few seconds, until the client leaves. */
  private async follow(sse: Sse, watched: string, look: () => Promise<void>): Promise<void> {
    let changes = 0;
    let wake: () => void = () => undefined;
    const unwatch = this.notifications.watch(watched, () => {
      changes++;
      wake();
    });
    try {
      while (sse.open) {
        const before = changes;
        await look();
        await Promise.race([pause(JOB_EVERY_MS), sse.closed]);
        if (changes !== before) continue;
        const woken = new Promise<void>((resolve) => (wake = resolve));
        await Promise.race([woken, pause(POLL_MS), sse.closed]);
      }
    } finally {
      unwatch();
      sse.end();
    }
  }
}

const version = (job: Job): string =>
  `${job.updated_at.getTime()} ${job.event_counter} ${job.step}`;

function sendEvent(sse: Sse, event: JobEvent): void {
  const curve = event.data?.['curve'];
  if (curve !== undefined) sse.send('metrics', curve, event.number);
  else sse.send('event', eventObject(event), event.number);
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms).unref());
