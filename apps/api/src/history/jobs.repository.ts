import { Injectable } from '@nestjs/common';
import { DomainError, type JobIntegrationObject, type JobObject } from '@graft/contracts';
import { In, type EntityManager } from 'typeorm';
import { neverJoinedWarning, poolAllowed } from '../auth/pools.js';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import type { IntegrationRun } from '../database/entities/integrations.js';
import { Job } from '../database/entities/job.js';
import { jobListQuery, type JobFilter } from './job-list-query.js';
import { QueueForecasts } from './queue-forecasts.js';
import {
  withCordonedPool,
  integrationOf,
  jobObject,
  type Times,
  withRevokedPool,
  withOutdatedPool,
  withPoolWarning,
  type TimedAttempt,
} from './job-object.js';
import { acceptsJobs } from '../lifecycle/lease/fit-worker.js';

export const noSuchJob = (id: string, parameter = 'fine_tune_id'): DomainError =>
  new DomainError('fine_tune_not_found', `Could not find fine tune: ${id.slice(0, 60)}`, parameter);

/** Reads jobs of a project. */
@Injectable()
export class JobsRepository {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
    private readonly forecasts: QueueForecasts,
  ) {}

  /** Returns a job. `deleted`: whether to find deleted jobs, too. @throws DomainError if it does not exist */
  async row(
    projectId: string,
    id: string,
    { parameter = 'fine_tune_id', deleted = false } = {},
  ): Promise<Job> {
    const found = await this.database.manager
      .getRepository(Job)
      .findOne({ where: { id, project_id: projectId }, withDeleted: deleted });
    if (!found) throw noSuchJob(id, parameter);
    return found;
  }

  /**
   * Same as `row` for changes, with the row locked: the job may have been deleted while this call waited.
   */
  async locked(
    manager: EntityManager,
    projectId: string,
    id: string,
    { deleted = false } = {},
  ): Promise<Job> {
    const found = await manager.getRepository(Job).findOne({
      where: { id, project_id: projectId },
      lock: { mode: 'pessimistic_write' },
      withDeleted: deleted,
    });
    if (!found) throw noSuchJob(id);
    return found;
  }

  async object(projectId: string, id: string): Promise<JobObject> {
    const [object] = await this.objects([await this.row(projectId, id)]);
    return object as JobObject;
  }

  private get times(): Times {
    const { heartbeatMs, restoreDays } = this.settings;
    return { silentAfter: (2 * heartbeatMs) / 1000, restoreDays };
  }

  /** Returns the object of a job that this request created, with an optional warning about its pool. */
  async created(job: Job, warning: string | null): Promise<JobObject> {
    const place = await this.forecasts.forCreated(job);
    const object = jobObject(job, [], this.times, place);
    const integrations = (await this.integrations([job])).get(job.id) ?? null;
    const whole = { ...object, integrations };
    return warning === null ? whole : withPoolWarning(whole, warning);
  }

  async objects(jobs: readonly Job[]): Promise<JobObject[]> {
    // `attempt` is 1 after the first assignment; jobs with 0 have no attempts.
    const assigned = jobs.filter((job) => job.attempt > 0).map((job) => job.id);
    const attempts = assigned.length === 0 ? [] : await this.attempts(assigned);
    const ofJob = new Map<string, TimedAttempt[]>(jobs.map((job) => [job.id, []]));
    for (const attempt of attempts) ofJob.get(attempt.job_id)?.push(attempt);
    const { times } = this;
    const waiting = jobs.filter((job) => job.state === 'queued');
    const held = await this.blockedByPool(waiting);
    const missingPools = await this.withMissingPool(waiting);
    const requireNewer = await this.requireNewerWorkers(waiting);
    const places = await this.forecasts.of(jobs);
    const integrations = await this.integrations(jobs);
    return jobs.map((job) => {
      const place = places.get(job.id) ?? null;
      const object: JobObject = {
        ...jobObject(job, ofJob.get(job.id) ?? [], times, place),
        integrations: integrations.get(job.id) ?? null,
      };
      const isRevoked = held.get(job.id);
      if (isRevoked !== undefined)
        return isRevoked ? withRevokedPool(object) : withCordonedPool(object);
      const others = missingPools.get(job.id);
      if (others) return withPoolWarning(object, neverJoinedWarning(job.pool, others));
      return requireNewer.has(job.id) ? withOutdatedPool(object, job.schema_version) : object;
    });
  }

  /** Integrations of the jobs that have any. Most pages have none and cause no query. */
  private async integrations(
    jobs: readonly Job[],
  ): Promise<ReadonlyMap<string, JobIntegrationObject[]>> {
    const tracked = jobs.filter(({ request }) => {
      const types = request['integrations'];
      return Array.isArray(types) && types.length > 0;
    });
    const objects = new Map<string, JobIntegrationObject[]>();
    if (tracked.length === 0) return objects;
    const runs = await this.database.query<IntegrationRun>(
      `SELECT run.*, COALESCE(error, CASE WHEN status = 'open' THEN last_error END) AS error
       FROM integration_run AS run LEFT JOIN integration USING (project_id, type)
       WHERE job_id = ANY($1) ORDER BY job_id, type`,
      [tracked.map(({ id }) => id)],
    );
    for (const run of runs)
      objects.set(run.job_id, [...(objects.get(run.job_id) ?? []), integrationOf(run)]);
    return objects;
  }

  /** Queued jobs whose pool does not exist, with the pools that their project may use. */
  private async withMissingPool(
    waiting: readonly Job[],
  ): Promise<ReadonlyMap<string, readonly string[]>> {
    if (waiting.length === 0) return new Map();
    const rows = await this.database.query<{ id: string; others: readonly string[] }>(
      `SELECT id, ARRAY(SELECT name FROM pool WHERE ${poolAllowed('pool.name', 'job.project_id')} ORDER BY name) AS others
       FROM job WHERE id = ANY($1) AND NOT EXISTS (SELECT 1 FROM pool WHERE pool.name = job.pool)`,
      [waiting.map((job) => job.id)],
    );
    return new Map(rows.map(({ id, others }) => [id, others]));
  }

  /**
   * Queued jobs whose pool assigns them no worker: true if their project may no longer use the pool, false
   * if it is cordoned.
   */
  private async blockedByPool(waiting: readonly Job[]): Promise<ReadonlyMap<string, boolean>> {
    if (waiting.length === 0) return new Map();
    const rows = await this.database.query<{ id: string; shut: boolean; cordoned: boolean }>(
      `SELECT id, NOT ${poolAllowed('job.pool', 'job.project_id')} AS shut,
         EXISTS (SELECT 1 FROM pool held WHERE held.name = job.pool AND held.cordoned) AS cordoned
       FROM job WHERE id = ANY($1)`,
      [waiting.map((job) => job.id)],
    );
    return new Map(
      rows.filter((row) => row.shut || row.cordoned).map(({ id, shut }) => [id, shut]),
    );
  }

  /** Queued jobs whose pool has only workers of a lower schema version. */
  private async requireNewerWorkers(waiting: readonly Job[]): Promise<ReadonlySet<string>> {
    if (waiting.length === 0) return new Set();
    const rows = await this.database.query<{ id: string }>(
      `WITH newest AS MATERIALIZED (
         SELECT pool, max(schema_version) AS version FROM worker WHERE ${acceptsJobs('$2')} GROUP BY pool
       )
       SELECT id FROM job JOIN newest USING (pool) WHERE job.id = ANY($1) AND job.schema_version > newest.version`,
      [waiting.map((job) => job.id), this.settings.leaseMs],
    );
    return new Set(rows.map(({ id }) => id));
  }

  /** Reads the attempts of several jobs in one statement. Their durations use the database's clock. */
  private attempts(jobIds: readonly string[]): Promise<TimedAttempt[]> {
    return this.database.query<TimedAttempt>(
      `SELECT attempt.*, CASE WHEN ended_at IS NULL AND process IS NOT NULL THEN (
           SELECT json_build_object('jobs', COALESCE(json_agg(other_job.id ORDER BY other_job.id) FILTER (WHERE is_own), '[]'),
             'others', count(*) FILTER (WHERE NOT is_own))
           FROM (SELECT job.id, job.project_id = (SELECT project_id FROM job WHERE id = attempt.job_id) AS is_own
             FROM attempt other JOIN job ON job.id = other.job_id
             WHERE other.process = attempt.process AND other.worker_id = attempt.worker_id
               AND other.ended_at IS NULL AND other.job_id <> attempt.job_id) AS other_job) END AS shares_with,
         COALESCE(EXTRACT(EPOCH FROM COALESCE(ended_at, clock_timestamp()) - started_at), 0)::float8 AS seconds,
         COALESCE(EXTRACT(EPOCH FROM COALESCE(ended_at, clock_timestamp()) - assigned_at), 0)::float8 AS assigned_seconds,
         CASE WHEN ended_at IS NULL THEN EXTRACT(EPOCH FROM clock_timestamp() - last_seen_at)::float8 END AS silent
       FROM attempt LEFT JOIN worker ON worker.id = worker_id WHERE job_id = ANY($1) ORDER BY job_id, number`,
      [jobIds],
    );
  }

  /** Returns a page of jobs, and whether there are more. */
  async list(projectId: string, filter: JobFilter): Promise<{ page: Job[]; more: boolean }> {
    // A job that was deleted in the meantime is still a valid cursor.
    if (filter.after)
      await this.row(projectId, filter.after, { parameter: 'after', deleted: true });
    const { sql, values } = jobListQuery(projectId, filter, this.settings.restoreDays);
    const ids = (await this.database.query<{ id: string }>(sql, [...values])).map(({ id }) => id);
    const wanted = ids.slice(0, filter.limit);
    const rows = await this.database.manager
      .getRepository(Job)
      .find({ where: { id: In(wanted) }, withDeleted: true });
    const byId = new Map(rows.map((job) => [job.id, job]));
    const page = wanted.flatMap((id) => byId.get(id) ?? []);
    return { page, more: ids.length > filter.limit };
  }

  /** Jobs of a project that changed at `since` or later, including deleted ones, oldest change first. */
  changed(projectId: string, since: Date, limit: number): Promise<Job[]> {
    return this.database.manager
      .getRepository(Job)
      .createQueryBuilder('job')
      .withDeleted()
      .where('job.project_id = :projectId AND job.updated_at >= :since', { projectId, since })
      .orderBy('job.updated_at', 'ASC')
      .limit(limit)
      .getMany();
  }
}
