import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { JobMetrics } from '../history/metrics.service.js';
import { WakeUps } from '../wake/wake-ups.js';
import type { Feed } from './feed.js';
import { JobFeed } from './job-feed.js';
import { OpenStreams } from './open-streams.js';
import { has, ProjectFeed, type Change } from './project-feed.js';
import { lastEventId, type Sse } from './sse.js';

/**
 * Live streams that never lose an event: announcements only say "look again", and what is sent is read from the table
 * after the last number sent. Whoever watches the same shares one reader.
 */
@Injectable()
export class JobStream {
  private readonly jobFeeds = new Map<string, JobFeed>();
  private readonly projectFeeds = new Map<string, ProjectFeed>();

  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly metrics: JobMetrics,
    private readonly wakeUps: WakeUps,
    private readonly streams: OpenStreams,
  ) {}

  async job(caller: Principal, id: string, request: Request, response: Response): Promise<void> {
    const job = await this.jobs.row(caller.projectId, id);
    let cursor = lastEventId(request) ?? 0;
    const sse = this.streams.open(caller, request, response);
    if (cursor > job.event_counter) {
      sse.send('reset', {});
      cursor = 0;
    }
    const { database, jobs, metrics, wakeUps } = this;
    const make = (): JobFeed => new JobFeed(wakeUps, database, jobs, metrics, caller.projectId, id);
    await follow(sse, this.jobFeeds, id, make, async (feed) => {
      sse.write(feed.state);
      for (;;) {
        const events = await feed.eventsAfter(cursor);
        for (const { bytes } of events) sse.write(bytes);
        cursor = events.at(-1)?.number ?? cursor;
        await sse.drained();
        if (events.length === 0 || !sse.open) return;
      }
    });
  }

  /**
   * `job` events of a whole project. Ids are milliseconds of the change; `ready` gives the first, so that
   * a client who has seen no change yet can come back for all that it missed.
   */
  async project(caller: Principal, request: Request, response: Response): Promise<void> {
    let last = lastEventId(request) ?? (await this.database.now()).getTime();
    const sse = this.streams.open(caller, request, response);
    sse.send('ready', {}, last);
    let place: number | null = null;
    let had = new Map<string, Change>();
    const send = (changes: readonly Change[]): void => {
      for (const change of changes) {
        if (has(had, change)) continue;
        sse.write(change.bytes);
        last = change.at;
        had.set(change.job, change);
      }
    };
    const make = (): ProjectFeed =>
      new ProjectFeed(this.wakeUps, this.database, this.jobs, caller.projectId);
    await follow(sse, this.projectFeeds, caller.projectId, make, async (feed) => {
      const fresh: readonly Change[] | null = place === null ? null : feed.from(place);
      // First the place, then the table: what changes meanwhile is behind the place.
      place = feed.end;
      if (fresh) {
        send(fresh);
        // Needed only against what was read from the table.
        if (fresh.length > 0) had = new Map();
      } else
        for await (const changes of feed.missed(last)) {
          send(changes);
          await sse.drained();
          if (!sse.open) return;
        }
      await sse.drained();
    });
  }

  /** Ends all streams, so that a stopping server does not wait for them; clients come back by themselves. */
  endAll(): void {
    this.streams.endAll();
  }
}

/** Sends what a feed has after each of its looks, until the client leaves. */
async function follow<F extends Feed>(
  sse: Sse,
  feeds: Map<string, F>,
  id: string,
  make: () => F,
  send: (feed: F) => Promise<void>,
): Promise<void> {
  const feed = feeds.get(id) ?? make();
  feeds.set(id, feed);
  const leave = feed.watch();
  // Not a race with its end at each look: a promise keeps whoever waits for it for as long as it lives.
  let wake: () => void = () => undefined;
  void sse.closed.then(() => wake());
  try {
    await feed.current();
    while (sse.open && !feed.failed) {
      const { looks } = feed;
      await send(feed);
      if (!sse.open) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
        feed.after(looks, resolve);
      });
    }
  } finally {
    if (leave() && feeds.get(id) === feed) feeds.delete(id);
    sse.end();
  }
}
