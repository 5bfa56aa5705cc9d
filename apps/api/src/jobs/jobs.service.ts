import { Injectable } from '@nestjs/common';
import {
  DomainError,
  type CheckpointObject,
  type JobEventObject,
  type JobObject,
  type Page,
} from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Job, JobEvent } from '../database/entities/job.js';
import { Endings } from '../dispatch/endings.js';
import { Outbox } from '../dispatch/outbox.js';
import { History } from '../events/history.js';
import { Connections } from '../gateway/connections.js';
import { Counters } from '../health/counters.js';
import { pageQuery, type PageQuery } from '../http/parse.js';
import { eventNumber } from '../ids.js';
import { CheckpointsRepository } from './checkpoints.repository.js';
import { bestCheckpoint, checkpointObject, eventObject } from './history-objects.js';
import { JobsRepository } from './jobs.repository.js';

@Injectable()
export class JobsService {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly checkpointRows: CheckpointsRepository,
    private readonly outbox: Outbox,
    private readonly history: History,
    private readonly connections: Connections,
    private readonly endings: Endings,
    private readonly counters: Counters,
  ) {}

  get(caller: Principal, id: string): Promise<JobObject> {
    return this.jobs.object(caller.projectId, id);
  }

  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<JobObject>> {
    const page = pageQuery(query, 20, 100);
    const status = typeof query['status'] === 'string' && query['status'] ? query['status'] : null;
    const rows = await this.jobs.list(caller.projectId, {
      ...page,
      metadata: metadataFilter(query),
      status,
      words: searchWords(query['search']),
    });
    const data = await this.jobs.objects(rows.slice(0, page.limit));
    return { object: 'list', data, has_more: rows.length > page.limit };
  }

  async events(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<Page<JobEventObject>> {
    return this.eventPage(caller, id, pageQuery(query, 20, 1000), ['message', 'metrics']);
  }

  /** The trainer's own log lines, newest first. */
  async logs(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<Page<JobEventObject>> {
    return this.eventPage(caller, id, pageQuery(query, 200, 1000), ['log']);
  }

  private async eventPage(
    caller: Principal,
    id: string,
    { limit, after }: PageQuery,
    types: readonly string[],
  ): Promise<Page<JobEventObject>> {
    const job = await this.jobs.row(caller.projectId, id);
    const query = this.database.manager
      .getRepository(JobEvent)
      .createQueryBuilder('event')
      .where('event.job_id = :jobId AND event.type IN (:...types)', { jobId: job.id, types })
      .orderBy('event.number', 'DESC')
      .limit(limit + 1);
    if (after !== null) {
      const below = eventNumber(after);
      if (below === null) throw badAfter(after, 'event');
      query.andWhere('event.number < :below', { below });
    }
    const rows = await query.getMany();
    return {
      object: 'list',
      data: rows.slice(0, limit).map(eventObject),
      has_more: rows.length > limit,
    };
  }

  async checkpoints(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<Page<CheckpointObject>> {
    const job = await this.jobs.row(caller.projectId, id);
    const { limit, after } = pageQuery(query, 10, 100);
    const newest = await this.checkpointRows.list(job.id);
    const best = bestCheckpoint(newest);
    const start = after === null ? 0 : newest.findIndex((row) => row.id === after) + 1;
    // Not the first page again: retention may have taken it away between two pages.
    if (after !== null && start === 0) throw badAfter(after, 'checkpoint');
    const data = newest
      .slice(start, start + limit)
      .map((row) => checkpointObject(row, job, row === best));
    return {
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: newest.length > start + limit,
    };
  }

  /**
   * Cancels at once: the epoch goes up in the same statement, so whatever the worker still writes is
   * refused, and the worker is told to kill the run. The first terminal row wins.
   */
  async cancel(caller: Principal, id: string): Promise<JobObject> {
    const before = await this.change(caller, id, async (manager, job) => {
      if (job.state === 'cancelled') return;
      refuse(job, ['validating_files', 'queued', 'running', 'paused'], 'cancelled');
      await this.database.query(
        `UPDATE job SET state = 'cancelled', epoch = epoch + 1, lease_owner = NULL, lease_until = NULL,
           finished_at = clock_timestamp(), phase_code = 'cancelled', phase_message = 'Cancelled by the user'
         WHERE id = $1 AND epoch = $2`,
        [id, job.epoch],
        manager,
      );
      this.counters.ended('cancelled', job.started_at);
      await this.endings.closeAttempt(manager, job, 'cancelled');
      await this.history.append(manager, id, [{ message: 'The job was cancelled' }]);
    });
    if (before.state === 'running') this.connections.command(before, Command_Action.ACTION_CANCEL);
    return this.jobs.object(caller.projectId, id);
  }

  /** A waiting job pauses at once; a running one after its next checkpoint is committed. */
  async pause(caller: Principal, id: string): Promise<JobObject> {
    const before = await this.change(caller, id, async (manager, job) => {
      if (job.state === 'paused' || job.desired_state === 'pause') return;
      refuse(job, ['validating_files', 'queued', 'running'], 'paused');
      const running = job.state === 'running';
      await this.database.query(
        running
          ? `UPDATE job SET desired_state = 'pause', phase_code = 'pausing',
               phase_message = 'Saving a checkpoint, then pausing' WHERE id = $1 AND epoch = $2`
          : `UPDATE job SET state = 'paused', epoch = epoch + 1, phase_code = 'paused',
               phase_message = 'Paused by the user' WHERE id = $1 AND epoch = $2`,
        [id, job.epoch],
        manager,
      );
      await this.history.append(manager, id, [
        { message: running ? 'Pausing the job' : 'The job was paused' },
      ]);
    });
    if (before.state === 'running') this.connections.command(before, Command_Action.ACTION_PAUSE);
    return this.jobs.object(caller.projectId, id);
  }

  async resume(caller: Principal, id: string): Promise<JobObject> {
    await this.change(caller, id, async (manager, job) => {
      if (job.state === 'queued' || (job.state === 'running' && job.desired_state === 'run'))
        return;
      refuse(job, ['paused', 'running'], 'resumed');
      if (job.state === 'running') {
        // Told to pause but not there yet: when it stops it is queued again.
        await this.database.query(
          `UPDATE job SET desired_state = 'run', phase_code = 'training',
             phase_message = 'Going on: the pause was taken back' WHERE id = $1 AND epoch = $2`,
          [id, job.epoch],
          manager,
        );
      } else {
        await this.database.query(
          `UPDATE job SET state = 'queued', desired_state = 'run', not_before = NULL, phase_code = 'queued',
             phase_message = 'Waiting for a worker of pool ' || pool WHERE id = $1 AND epoch = $2`,
          [id, job.epoch],
          manager,
        );
        await this.outbox.write(manager, id);
      }
      await this.history.append(manager, id, [{ message: 'The job was resumed' }]);
    });
    this.outbox.nudge();
    return this.jobs.object(caller.projectId, id);
  }

  /**
   * Runs a change under the job row's lock; answers with the row as it was before, and before an earlier run of the
   * transaction, which may have been committed and its connection lost before that was heard.
   */
  private async change(
    caller: Principal,
    id: string,
    work: (manager: EntityManager, job: Job) => Promise<void>,
  ): Promise<Job> {
    await this.jobs.row(caller.projectId, id);
    let before: Job | null = null;
    return this.database.transaction(async (manager) => {
      const job = await manager.getRepository(Job).findOneOrFail({
        where: { id, project_id: caller.projectId },
        lock: { mode: 'pessimistic_write' },
      });
      before ??= job;
      await work(manager, job);
      return before;
    });
  }
}

const badAfter = (after: string, kind: string): DomainError =>
  new DomainError(
    'invalid_value',
    `after is no ${kind} of this job: ${after.slice(0, 60)}`,
    'after',
  );

function refuse(job: Job, allowed: readonly string[], verb: string): void {
  if (!allowed.includes(job.state)) {
    throw new DomainError(
      'invalid_state',
      `job ${job.id} is ${job.state} and cannot be ${verb}`,
      'fine_tuning_job_id',
    );
  }
}

/** `search=…`: words in any order. */
function searchWords(raw: unknown): string[] {
  if (raw === undefined || raw === '') return [];
  if (typeof raw !== 'string' || raw.length > 200)
    throw new DomainError('invalid_value', 'search must be at most 200 characters', 'search');
  return raw.split(/\s+/).filter(Boolean).slice(0, 10);
}

/** `metadata[key]=value`, in either form Express may parse; `metadata=null` asks for jobs without. */
function metadataFilter(query: Record<string, unknown>): Record<string, string> | null | undefined {
  const raw = query['metadata'];
  if (raw === 'null' || raw === '') return null;
  const pairs: Record<string, string> =
    raw && typeof raw === 'object' ? { ...(raw as Record<string, string>) } : {};
  for (const [name, value] of Object.entries(query)) {
    const key = /^metadata\[(.+)\]$/.exec(name)?.[1];
    if (key && typeof value === 'string') pairs[key] = value;
  }
  return Object.keys(pairs).length > 0 ? pairs : undefined;
}
