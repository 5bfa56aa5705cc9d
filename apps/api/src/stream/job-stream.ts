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
import { isKnown, ProjectFeed, type Change } from './project-feed.js';
import { lastEventId, type Sse } from './sse.js';

/**
 * Event streams that lose no event: announcements only trigger a read, and the events to send are read from
 * the table, after the last number sent. Watchers of the same job or project share a reader.
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
   * Streams the `job` events of a project. Event ids are the milliseconds of changes. `ready` has the first
   * id, so that a client that has received no change can reconnect without missing any.
   */
  async project(caller: Principal, request: Request, response: Response): Promise<void> {
    let last = lastEventId(request) ?? (await this.database.now()).getTime();
    const sse = this.streams.open(caller, request, response);
    sse.send('ready', {}, last);
    let place: number | null = null;
    let had = new Map<string, Change>();
    const send = (changes: readonly Change[]): void => {
      for (const change of changes) {
        if (isKnown(had, change)) continue;
        sse.write(change.bytes);
        last = change.at;
        had.set(change.job, change);
      }
    };
    const make = (): ProjectFeed =>
      new ProjectFeed(this.wakeUps, this.database, this.jobs, caller.projectId);
    await follow(sse, this.projectFeeds, caller.projectId, make, async (feed) => {
      const fresh: readonly Change[] | null = place === null ? null : feed.from(place);
      // Get the position before reading the table: changes in the meantime are after the position.
      place = feed.end;
      if (fresh) {
        send(fresh);
        // The filter is only needed for changes that were also read from the table.
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

  /** Ends all streams, so that a stopping server does not wait for them. Clients reconnect. */
  endAll(): void {
    this.streams.endAll();
  }
}

/** Sends what a feed has after each of its reads, until the client disconnects. */
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
  // Do not race each read with `sse.closed`: a pending promise keeps every handler that was added to it.
  let wake: () => void = () => undefined;
  void sse.closed.then(() => wake());
  try {
    await feed.current();
    while (sse.open && !feed.failed) {
      const { reads: looks } = feed;
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
