import { Injectable } from '@nestjs/common';
import {
  DomainError,
  type CheckpointObject,
  type JobEventObject,
  type JobObject,
  type JobSampleObject,
  type Page,
} from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { JobEvent, type Job } from '../database/entities/job.js';
import { JobTransitions } from '../lifecycle/job-transitions.js';
import { Outbox } from '../lifecycle/outbox.js';
import { WorkerLink } from '../relay/worker-link.js';
import { pageQuery, type PageQuery } from '../http/parse.js';
import { eventNumber } from '../ids.js';
import { bestBy, CheckpointsRepository } from '../history/checkpoints.repository.js';
import {
  bestCheckpoint,
  checkpointObject,
  eventObject,
  sampleObject,
} from '../history/history-objects.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { jobFilter } from './list-query.js';

@Injectable()
export class JobsService {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly checkpointRows: CheckpointsRepository,
    private readonly outbox: Outbox,
    private readonly link: WorkerLink,
    private readonly transitions: JobTransitions,
    private readonly audit: Audit,
  ) {}

  get(caller: Principal, id: string): Promise<JobObject> {
    return this.jobs.object(caller.projectId, id);
  }

  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<JobObject>> {
    const filter = jobFilter(query);
    const { page, more } = await this.jobs.list(caller.projectId, filter);
    return { object: 'list', data: await this.jobs.objects(page), has_more: more };
  }

  async events(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<Page<JobEventObject>> {
    return this.eventPage(caller, id, pageQuery(query, 20, 1000), ['message', 'metrics']);
  }

  /** Completions of the job's sample prompts, newest step first. */
  async samples(
    caller: Principal,
    id: string,
    query: Record<string, unknown>,
  ): Promise<Page<JobSampleObject>> {
    const job = await this.jobs.row(caller.projectId, id);
    const { limit, after } = pageQuery(query, 20, 100);
    const below = after === null ? null : eventNumber(after);
    if (after !== null && below === null) throw badAfter(after, 'a sample');
    const rows = await this.database.query<JobEvent>(
      `SELECT * FROM event WHERE job_id = $1 AND kind = 'sample' AND ($2::int IS NULL OR number < $2)
       ORDER BY number DESC LIMIT $3`,
      [job.id, below, limit + 1],
    );
    const data = rows.slice(0, limit).map((row) => sampleObject(row, job));
    return { object: 'list', data, has_more: rows.length > limit };
  }

  /** Log lines of the trainer, newest first. */
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
      if (below === null) throw badAfter(after, 'an event');
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
    const best = bestCheckpoint(newest, bestBy(job));
    const start = after === null ? 0 : newest.findIndex((row) => row.id === after) + 1;
    // Do not return the first page again: retention may have deleted the checkpoint between two pages.
    if (after !== null && start === 0) throw badAfter(after, 'a checkpoint');
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
   * Cancels a job and sends its worker a cancel command. If the command is lost, the worker's next write is
   * rejected.
   */
  async cancel(caller: Principal, id: string): Promise<JobObject> {
    const before = await this.change(caller, id, 'job.cancelled', (manager, job) =>
      this.transitions.cancel(manager, job),
    );
    if (before.state === 'running') void this.link.command(before, Command_Action.ACTION_CANCEL);
    return this.jobs.object(caller.projectId, id);
  }

  async pause(caller: Principal, id: string): Promise<JobObject> {
    const before = await this.change(caller, id, 'job.paused', (manager, job) =>
      this.transitions.pause(manager, job),
    );
    if (before.state === 'running') void this.link.command(before, Command_Action.ACTION_PAUSE);
    return this.jobs.object(caller.projectId, id);
  }

  async resume(caller: Principal, id: string): Promise<JobObject> {
    await this.change(caller, id, 'job.resumed', (manager, job) =>
      this.transitions.resume(manager, job),
    );
    this.outbox.nudge();
    return this.jobs.object(caller.projectId, id);
  }

  /**
   * Runs a change while holding the lock on the job's row. Returns the row as it was before the first run
   * of the transaction, which may have committed before its connection was lost.
   */
  private async change(
    caller: Principal,
    id: string,
    action: `job.${string}`,
    work: (manager: EntityManager, job: Job) => Promise<void>,
  ): Promise<Job> {
    await this.jobs.row(caller.projectId, id);
    let before: Job | null = null;
    return this.database.transaction(async (manager) => {
      const job = await this.jobs.locked(manager, caller.projectId, id);
      before ??= job;
      await work(manager, job);
      await this.audit.write(manager, { caller, action, target: id });
      return before;
    });
  }
}

const badAfter = (after: string, kind: string): DomainError =>
  new DomainError(
    'invalid_value',
    `after does not refer to ${kind} of this job: ${after.slice(0, 60)}`,
    'after',
  );
