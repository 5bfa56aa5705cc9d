import { Injectable } from '@nestjs/common';
import type { Event, EventBatch, Lease } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Received } from '../blobs/blob-store.js';
import { WorkerDatabase } from '../database/database.js';
import type { Job } from '../database/entities/job.js';
import { Endings } from '../dispatch/endings.js';
import { Leases } from '../dispatch/lease.js';
import { Outbox } from '../dispatch/outbox.js';
import { Counters } from '../health/counters.js';
import { Facts } from './facts.js';
import { History, type NewEvent } from './history.js';
import { applyProgress, Progress } from './progress.js';
import { Replay } from './replay.js';

/** The only writer of what workers report. A batch is idempotent: what was ingested before is dropped. */
@Injectable()
export class Ingest {
  constructor(
    private readonly database: WorkerDatabase,
    private readonly history: History,
    private readonly facts: Facts,
    private readonly replay: Replay,
    private readonly endings: Endings,
    private readonly leases: Leases,
    private readonly outbox: Outbox,
    private readonly counters: Counters,
  ) {}

  /** Writes the batch, attempt by attempt; answers with the attempts that are not current. */
  async batch(workerId: string, batch: EventBatch): Promise<Lease[]> {
    const stale: Lease[] = [];
    for (const events of byAttempt(batch.events)) {
      const [first] = events;
      if (!first) continue;
      if (!(await this.ofAttempt(workerId, events))) {
        this.counters.staleWrites.inc(events.length);
        stale.push({ jobId: first.jobId, epoch: first.epoch, step: 0 });
      }
    }
    this.outbox.nudge();
    return stale;
  }

  /** One attempt's facts. Its end has a transaction of its own where the curve is written before that. */
  private async ofAttempt(workerId: string, events: readonly Event[]): Promise<boolean> {
    const end = events.findIndex((event) => event.fact?.$case === 'finished');
    if (end < 0) return this.commit(workerId, events, null);
    if (end > 0 && !(await this.commit(workerId, events.slice(0, end), null))) return false;
    const { jobId, epoch } = events[end] as Event;
    const owned = await this.leases.owns(workerId, jobId, epoch);
    const curve = owned ? await this.facts.curve(jobId) : null;
    try {
      return await this.commit(workerId, events.slice(end), curve);
    } finally {
      if (curve) await this.facts.discard(curve);
    }
  }

  private commit(
    workerId: string,
    events: readonly Event[],
    curve: Received | null,
  ): Promise<boolean> {
    return this.database.transaction((manager) => this.attempt(manager, workerId, events, curve));
  }

  private async attempt(
    manager: EntityManager,
    workerId: string,
    all: readonly Event[],
    curve: Received | null,
  ): Promise<boolean> {
    const { jobId, epoch } = all[0] as Event;
    // The row stays locked until commit: nothing else can end or move this attempt meanwhile.
    const [job] = await this.database.query<Job>(
      `SELECT * FROM job WHERE id = $1 AND epoch = $2 AND lease_owner = $3 AND state = 'running' FOR UPDATE`,
      [jobId, epoch, workerId],
      manager,
    );
    const highest = all.at(-1)?.sequence ?? 0;
    if (!job) return this.wasIngested(manager, workerId, jobId, epoch, highest);
    const [advanced] = await this.database.query<{ before: number }>(
      `UPDATE attempt SET last_sequence = GREATEST(attempt.last_sequence, $3) FROM attempt old
       WHERE attempt.job_id = $1 AND attempt.epoch = $2 AND old.job_id = $1 AND old.epoch = $2
       RETURNING old.last_sequence AS before`,
      [jobId, epoch, highest],
      manager,
    );
    const events = all.filter((event) => event.sequence > (advanced?.before ?? 0));
    this.counters.eventsIngested.inc(events.length);
    await this.write(manager, job, events, curve);
    return true;
  }

  /** A last batch may be repeated after its attempt is over, because its ack was lost: no harm, no alarm. */
  private async wasIngested(
    manager: EntityManager,
    workerId: string,
    jobId: string,
    epoch: number,
    highest: number,
  ): Promise<boolean> {
    const rows = await this.database.query(
      `SELECT 1 FROM attempt WHERE job_id = $1 AND epoch = $2 AND worker_id = $3 AND last_sequence >= $4 AND ended_at IS NOT NULL`,
      [jobId, epoch, workerId, highest],
      manager,
    );
    return rows.length > 0;
  }

  private async write(
    manager: EntityManager,
    job: Job,
    events: readonly Event[],
    curve: Received | null,
  ): Promise<void> {
    const progress = new Progress(job, await this.replay.reported(manager, job));
    const lines: NewEvent[] = [];
    let end: Event['fact'];
    for (const event of events) {
      if (event.fact) lines.push(...(await this.facts.line(manager, job, progress, event)));
      if (event.fact && ['finished', 'failed', 'stopped'].includes(event.fact.$case)) {
        end = event.fact;
        break;
      }
    }
    lines.push(...(await this.facts.steps(manager, job, progress)));
    await applyProgress(this.database, manager, job, progress);
    await this.history.append(manager, job.id, lines);
    // What ends the attempt judges it with this batch's checkpoints counted.
    job.crash_count = progress.crashCount;
    job.trainable_parameters = progress.trainableParameters;
    job.valid_loss = progress.validLoss;
    job.best = progress.best;
    job.warnings = progress.warnings;
    switch (end?.$case) {
      case 'finished':
        if (!curve) throw new Error(`the curve of ${job.id} was not written`);
        await this.facts.finished(manager, job, end.value, curve);
        break;
      case 'failed':
        await this.endings.failed(manager, job, {
          ...end.value,
          message: end.value.message || end.value.code,
          param: end.value.param || null,
        });
        break;
      case 'stopped':
        await this.endings.stopped(manager, job, end.value);
        break;
    }
  }
}

function byAttempt(events: readonly Event[]): Event[][] {
  const groups = new Map<string, Event[]>();
  for (const event of events) {
    const key = `${event.jobId} ${event.epoch}`;
    const group = groups.get(key);
    if (group) group.push(event);
    else groups.set(key, [event]);
  }
  return [...groups.values()].map((group) => group.sort((a, b) => a.sequence - b.sequence));
}
