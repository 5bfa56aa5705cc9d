import { Injectable } from '@nestjs/common';
import { isEnd, type RunEvent } from '@graft/contracts';
import type { Event, EventBatch, Lease } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Received } from '../blobs/blob-store.js';
import { Settings } from '../config.js';
import { WorkerDatabase } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { Leases, type EndingAttempt } from '../lifecycle/lease/lease.js';
import { Outbox } from '../lifecycle/outbox.js';
import { Counters } from '../metrics/counters.js';
import { Completion } from './completion.js';
import { DeadLetters, isDataError } from './dead-letters.js';
import { DamagedCheckpoints } from './damaged-checkpoints.js';
import { EventWriter, type End } from './event-writer.js';
import { Measurements } from './measurements.js';
import { EventLog, type NewEvent } from '../lifecycle/event-log.js';
import { applyProgress, Progress } from './progress.js';
import { Replay } from './replay.js';
import { canExist, readEvent, type ReadEvent } from './reported.js';

interface BatchResult {
  /** Attempts that are no longer current. */
  readonly stale: Lease[];
  /** Attempts that should end early because of the measurements in this batch. The next heartbeat repeats it. */
  readonly ending: EndingAttempt[];
}

/**
 * Stores the events that workers report; nothing else writes them. It is idempotent: events that were ingested before
 * are dropped.
 */
@Injectable()
export class EventIngest {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly events: EventLog,
    private readonly writer: EventWriter,
    private readonly measurements: Measurements,
    private readonly completion: Completion,
    private readonly damaged: DamagedCheckpoints,
    private readonly dead: DeadLetters,
    private readonly replay: Replay,
    private readonly leases: Leases,
    private readonly outbox: Outbox,
    private readonly counters: Counters,
    private readonly settings: Settings,
  ) {}

  /** Stores a batch, one attempt at a time. Returns what the worker should do with the attempts. */
  async batch(workerId: string, batch: EventBatch): Promise<BatchResult> {
    const stale: Lease[] = [];
    const evaluated: Event[] = [];
    for (const events of byAttempt(batch.events)) {
      const [first] = events;
      if (!first) continue;
      if (!(await this.taken(workerId, events))) {
        stale.push({ jobId: first.jobId, attempt: first.attempt, step: 0 });
      } else if (events.some(({ kind }) => kind === 'evaluated')) evaluated.push(first);
    }
    this.outbox.nudge();
    return { stale, ending: await this.leases.ending(evaluated) };
  }

  /**
   * Stores the events of one attempt. Events that cannot be stored end that attempt only. Returns false if the worker
   * should stop the run.
   */
  private async taken(workerId: string, events: readonly Event[]): Promise<boolean> {
    try {
      if (canExist(events[0] as Event) && (await this.ofAttempt(workerId, events.map(readEvent))))
        return true;
    } catch (error) {
      if (!isDataError(error)) throw error;
      if (await this.reject(workerId, events, error)) return false;
    }
    this.counters.staleWrites.inc(events.length);
    return false;
  }

  private reject(workerId: string, events: readonly Event[], error: unknown): Promise<boolean> {
    return this.database.transaction(async (manager) => {
      const job = await this.locked(manager, workerId, events[0] as Event);
      if (job) await this.dead.reject(manager, job, events, error);
      return job !== null;
    });
  }

  /** Returns the job with its row locked until commit, so that no other transaction can end or move the attempt. */
  private async locked(
    manager: EntityManager,
    workerId: string,
    { jobId, attempt }: Pick<Event, 'jobId' | 'attempt'>,
  ): Promise<Job | null> {
    const [job] = await this.database.query<Job>(
      `SELECT * FROM job WHERE id = $1 AND attempt = $2 AND lease_owner = $3 AND state = 'running' FOR UPDATE`,
      [jobId, attempt, workerId],
      manager,
    );
    return job ?? null;
  }

  /**
   * Stores the events of one attempt. Its end gets a separate transaction, because the result file with the metrics
   * is written before it.
   */
  private async ofAttempt(workerId: string, reported: readonly ReadEvent[]): Promise<boolean> {
    const events = await this.verified(workerId, reported);
    const end = events.findIndex(({ event }) => event?.kind === 'finished');
    if (end < 0) return this.commit(workerId, events, null);
    if (end > 0 && !(await this.commit(workerId, events.slice(0, end), null))) return false;
    const { jobId, attempt } = events[end] as ReadEvent;
    const owned = await this.leases.owns(workerId, jobId, attempt);
    const curve = owned ? await this.completion.curve(jobId) : null;
    try {
      return await this.commit(workerId, events.slice(end), curve);
    } finally {
      if (curve) await this.completion.discard(curve);
    }
  }

  /** Checks a failure, which is the last event of its attempt. */
  private async verified(
    workerId: string,
    events: readonly ReadEvent[],
  ): Promise<readonly ReadEvent[]> {
    const last = events.at(-1);
    if (last?.event?.kind !== 'failed') return events;
    if (!(await this.leases.owns(workerId, last.jobId, last.attempt))) return events;
    return [...events.slice(0, -1), await this.damaged.verified(last)];
  }

  private commit(
    workerId: string,
    events: readonly ReadEvent[],
    curve: Received | null,
  ): Promise<boolean> {
    return this.database.transaction((manager) => this.attempt(manager, workerId, events, curve));
  }

  private async attempt(
    manager: EntityManager,
    workerId: string,
    all: readonly ReadEvent[],
    curve: Received | null,
  ): Promise<boolean> {
    const { jobId, attempt } = all[0] as ReadEvent;
    const job = await this.locked(manager, workerId, { jobId, attempt });
    const highest = all.at(-1)?.sequence ?? 0;
    if (!job) return this.wasIngested(manager, workerId, jobId, attempt, highest);
    const [advanced] = await this.database.query<{ before: number }>(
      `UPDATE attempt SET last_sequence = GREATEST(attempt.last_sequence, $3) FROM attempt old
       WHERE attempt.job_id = $1 AND attempt.number = $2 AND old.job_id = $1 AND old.number = $2
       RETURNING old.last_sequence AS before`,
      [jobId, attempt, highest],
      manager,
    );
    const events = all.filter((event) => event.sequence > (advanced?.before ?? 0));
    this.counters.eventsIngested.inc(events.length);
    await this.write(manager, job, events, curve);
    return true;
  }

  /** A last batch may be repeated after its attempt ended because its acknowledgment was lost. It is ignored. */
  private async wasIngested(
    manager: EntityManager,
    workerId: string,
    jobId: string,
    attempt: number,
    highest: number,
  ): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM attempt WHERE job_id = $1 AND number = $2 AND worker_id = $3 AND last_sequence >= $4 AND ended_at IS NOT NULL`,
      [jobId, attempt, workerId, highest],
      manager,
    );
    return rows.length > 0;
  }

  private async write(
    manager: EntityManager,
    job: Job,
    events: readonly ReadEvent[],
    curve: Received | null,
  ): Promise<void> {
    const progress = new Progress(job, await this.replay.reported(manager, job));
    const lines: NewEvent[] = [];
    let end: End | null = null;
    for (const { event, atUnixMs } of events) {
      lines.push(...(await this.writer.apply(event, atUnixMs, { manager, job, progress })));
      if (event && hasEnded(event)) {
        end = event;
        break;
      }
    }
    lines.push(...(await this.measurements.write(manager, job, progress)));
    await applyProgress(this.database, manager, job, progress, this.settings.leaseMs);
    await this.events.append(manager, job.id, lines);
    // An event that ends the attempt must be judged with the checkpoints of this batch included.
    job.crash_count = progress.crashCount;
    job.present_at_deaths = progress.presentAtDeaths;
    job.trainable_parameters = progress.trainableParameters;
    job.valid_loss = progress.validLoss;
    job.best = progress.best;
    job.warnings = progress.warnings;
    if (end) await this.writer.end(manager, job, end, curve);
  }
}

const hasEnded = (event: RunEvent): event is End => isEnd(event.kind);

function byAttempt(events: readonly Event[]): Event[][] {
  const groups = new Map<string, Event[]>();
  for (const event of events) {
    const key = `${event.jobId} ${event.attempt}`;
    const group = groups.get(key);
    if (group) group.push(event);
    else groups.set(key, [event]);
  }
  return [...groups.values()].map((group) => group.sort((a, b) => a.sequence - b.sequence));
}
