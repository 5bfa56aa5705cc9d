import { Database } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { JobsRepository } from '../history/jobs.repository.js';
import type { WakeUps } from '../wake/wake-ups.js';
import { Feed } from './feed.js';
import { message } from './sse.js';

const BATCH = 500;
/** Number of changes in memory. A watcher that is further behind reads the table. */
const KEPT = 1_000;
/** Time that consecutive reads overlap. Longer than any transaction may take. */
const OVERLAP_MS = 20_000;
/**
 * Age of the oldest changes that a new feed reads, so that clients that reconnect soon need no read of their
 * own.
 */
const BEGINS_MS = 3 * OVERLAP_MS;

/** A change of a job, shared by all watchers. */
export interface Change {
  readonly job: string;
  /** Milliseconds by the database's clock. Used as the event id. */
  readonly at: number;
  readonly version: string;
  readonly events: number;
  readonly bytes: Buffer;
}

/** Versions of jobs that a watcher has received. */
type KnownVersions = ReadonlyMap<string, Pick<Change, 'version' | 'events'>>;

/** Committed changes of all jobs of a project. */
export class ProjectFeed extends Feed {
  private recent: Change[] = [];
  /** Number of changes dropped before the first one in `kept`. */
  private dropped = 0;
  /** `kept` has all changes from this time on. */
  private coveredFrom = Infinity;
  private since: Date | null = null;
  private sent = new Map<string, string>();

  constructor(
    wakeUps: WakeUps,
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly projectId: string,
  ) {
    super(wakeUps, `project:${projectId}`);
  }

  /** Position after all changes so far. */
  get end(): number {
    return this.dropped + this.recent.length;
  }

  /** Returns the changes from a position on, or null if some of them were dropped. */
  from(place: number): readonly Change[] | null {
    return place < this.dropped ? null : this.recent.slice(place - this.dropped);
  }

  /**
   * Yields, in pages, the newest change of each job that a client may have missed since its last change at
   * `last`.
   */
  async *missed(last: number): AsyncGenerator<readonly Change[]> {
    const from = last - OVERLAP_MS;
    if (from < this.coveredFrom) {
      for await (const rows of this.pages(new Date(from), new Map())) yield this.changes(rows);
      return;
    }
    const newest = new Map(this.recent.map((change) => [change.job, change]));
    yield this.recent.filter((change) => change.at >= from && newest.get(change.job) === change);
  }

  protected async readChanges(): Promise<void> {
    if (!this.since) {
      this.since = new Date((await this.database.now()).getTime() - BEGINS_MS);
      this.coveredFrom = this.since.getTime();
    }
    const seen = new Map<string, string>();
    let { since } = this;
    for await (const rows of this.pages(since, seen)) {
      this.keep(await this.changes(rows.filter((row) => this.sent.get(row.id) !== version(row))));
      const newest = rows.at(-1)?.updated_at.getTime() ?? 0;
      since = new Date(Math.max(since.getTime(), newest - OVERLAP_MS));
    }
    // Changes before `since` are not read again.
    this.since = since;
    this.sent = seen;
  }

  /**
   * Yields jobs that changed at `from` or later, earliest first. Skips versions in `seen`, and adds new ones
   * to it.
   */
  private async *pages(from: Date, seen: Map<string, string>): AsyncGenerator<readonly Job[]> {
    for (;;) {
      const rows = await this.jobs.changed(this.projectId, from, BATCH);
      yield rows.filter((row) => seen.get(row.id) !== version(row));
      for (const row of rows) seen.set(row.id, version(row));
      const newest: Date = rows.at(-1)?.updated_at ?? from;
      if (rows.length < BATCH || newest <= from) return;
      from = newest;
    }
  }

  private async changes(rows: readonly Job[]): Promise<Change[]> {
    const objects = await this.jobs.objects(rows);
    return rows.map((row, index) => {
      const at = row.updated_at.getTime();
      return {
        job: row.id,
        at,
        version: version(row),
        events: row.event_counter,
        bytes: message('job', objects[index], at),
      };
    });
  }

  private keep(changes: readonly Change[]): void {
    this.recent.push(...changes);
    const over = Math.max(0, this.recent.length - KEPT);
    for (const { at } of this.recent.slice(0, over))
      this.coveredFrom = Math.max(this.coveredFrom, at + 1);
    this.recent = this.recent.slice(over);
    this.dropped += over;
  }
}

/** Whether a client has already received this change or a newer one of the job. */
export function isKnown(had: KnownVersions, { job, version, events }: Change): boolean {
  const own = had.get(job);
  return own !== undefined && (own.version === version || own.events > events);
}

const version = (job: Job): string =>
  `${job.updated_at.getTime()} ${job.event_counter} ${job.step}`;
