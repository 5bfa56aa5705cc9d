import { MoreThan } from 'typeorm';
import { Database } from '../database/database.js';
import { JobEvent } from '../database/entities/job.js';
import { eventObject } from '../history/history-objects.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { JobMetrics } from '../history/metrics.service.js';
import type { WakeUps } from '../wake/wake-ups.js';
import { Feed } from './feed.js';
import { message } from './sse.js';

const BATCH = 500;
/** Number of events in memory. A watcher that is further behind reads the table. */
const KEPT = 500;
const KEPT_BYTES = 512 * 1024;

/** An encoded event, shared by all watchers. */
export interface Numbered {
  readonly number: number;
  readonly bytes: Buffer;
}

/**
 * State and newest events of a job. Event numbers are assigned under the lock of the job's row, so no lower
 * number can appear later.
 */
export class JobFeed extends Feed {
  /** Encoded state of the job, read before the events that accompany it. */
  state: Buffer = Buffer.alloc(0);
  private tail: Numbered[] = [];
  private bytes = 0;
  /** `tail` has all events after this number. */
  private tailStart: number | null = null;

  constructor(
    wakeUps: WakeUps,
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly metrics: JobMetrics,
    private readonly projectId: string,
    private readonly id: string,
  ) {
    super(wakeUps, `job:${id}`);
  }

  /** Returns some of the events after a number; an empty array if there are none yet. */
  async eventsAfter(number: number): Promise<readonly Numbered[]> {
    if (this.tailStart === null || number < this.tailStart) return this.read(number);
    return this.tail.slice(this.tail.findLastIndex((event) => event.number <= number) + 1);
  }

  protected async readChanges(): Promise<void> {
    // Read the state first: the events sent after it can only be newer.
    const state = message('job', await this.jobs.object(this.projectId, this.id));
    if (this.tailStart === null) await this.readTail();
    else
      for (let rows = BATCH; rows === BATCH;) {
        const events = await this.read(this.tail.at(-1)?.number ?? this.tailStart);
        this.keep(events);
        rows = events.length;
      }
    this.state = state;
  }

  private async readTail(): Promise<void> {
    const events = await this.events.find({
      where: { job_id: this.id },
      order: { number: 'DESC' },
      take: KEPT,
    });
    const numbered = await this.numbered(events.reverse());
    this.tailStart = (events[0]?.number ?? 1) - 1;
    this.keep(numbered);
  }

  private keep(events: readonly Numbered[]): void {
    this.tail.push(...events);
    for (const event of events) this.bytes += event.bytes.length;
    let over = 0;
    while (this.tail.length - over > KEPT || this.bytes > KEPT_BYTES) {
      const dropped = this.tail[over++];
      if (!dropped) break;
      this.bytes -= dropped.bytes.length;
      this.tailStart = dropped.number;
    }
    if (over > 0) this.tail = this.tail.slice(over);
  }

  private get events() {
    return this.database.manager.getRepository(JobEvent);
  }

  private async read(after: number): Promise<Numbered[]> {
    return this.numbered(
      await this.events.find({
        where: { job_id: this.id, number: MoreThan(after) },
        order: { number: 'ASC' },
        take: BATCH,
      }),
    );
  }

  /** Encodes events. A step is sent as its metrics, every other event as it is. */
  private async numbered(events: readonly JobEvent[]): Promise<Numbered[]> {
    const stepOf = ({ kind, data }: JobEvent): number =>
      kind === 'step' ? Number(data?.['step']) : NaN;
    const steps = events.map(stepOf).filter((step) => !Number.isNaN(step));
    const numbers = await this.metrics.at(this.id, steps);
    return events.map((event) => {
      const { number } = event;
      const point = numbers.get(stepOf(event));
      const bytes = point
        ? message('metrics', point, number)
        : message('event', eventObject(event), number);
      return { number, bytes };
    });
  }
}
