import { Injectable } from '@nestjs/common';
import { DomainError, type JobObject } from '@graft/contracts';
import { Settings } from '../config.js';
import { Database } from '../database/database.js';
import { Job } from '../database/entities/job.js';
import { jobObject, type TimedAttempt } from './job-object.js';

export interface JobFilter {
  readonly limit: number;
  readonly after: string | null;
  /** null: jobs without metadata. */
  readonly metadata: Readonly<Record<string, string>> | null | undefined;
  readonly status: string | null;
  /** A job must have each of these somewhere in its SEARCHED texts. */
  readonly words: readonly string[];
}

const SEARCHED = `concat_ws(' ', job.id, job.state, job.model, job.fine_tuned_model, job.suffix, job.pool,
  coalesce(job.spec->'peft'->>'peft_type', 'full'), job.error->>'message', job.metadata::text,
  job.training_file, job.validation_file,
  (SELECT filename FROM file WHERE file.id = job.training_file))`;

/** Reads of jobs, always within a project. */
@Injectable()
export class JobsRepository {
  constructor(
    private readonly database: Database,
    private readonly settings: Settings,
  ) {}

  async row(projectId: string, id: string, parameter = 'fine_tune_id'): Promise<Job> {
    const found = await this.database.manager
      .getRepository(Job)
      .findOneBy({ id, project_id: projectId });
    if (!found)
      throw new DomainError(
        'fine_tune_not_found',
        `Could not find fine tune: ${id.slice(0, 60)}`,
        parameter,
      );
    return found;
  }

  async object(projectId: string, id: string): Promise<JobObject> {
    const [object] = await this.objects([await this.row(projectId, id)]);
    return object as JobObject;
  }

  async objects(jobs: readonly Job[]): Promise<JobObject[]> {
    // The first assignment raises the epoch: below it there are no attempts.
    const begun = jobs.filter((job) => job.epoch > 0).map((job) => job.id);
    const attempts = begun.length === 0 ? [] : await this.attempts(begun);
    const ofJob = new Map<string, TimedAttempt[]>(jobs.map((job) => [job.id, []]));
    for (const attempt of attempts) ofJob.get(attempt.job_id)?.push(attempt);
    const silentAfter = (2 * this.settings.heartbeatMs) / 1000;
    return jobs.map((job) => jobObject(job, ofJob.get(job.id) ?? [], silentAfter));
  }

  /** All that several jobs had, in one statement, with what only the database's clock can tell. */
  private attempts(jobIds: readonly string[]): Promise<TimedAttempt[]> {
    return this.database.query<TimedAttempt>(
      `SELECT attempt.*,
         COALESCE(EXTRACT(EPOCH FROM COALESCE(ended_at, clock_timestamp()) - started_at), 0)::float8 AS seconds,
         CASE WHEN ended_at IS NULL THEN EXTRACT(EPOCH FROM clock_timestamp() - last_seen_at)::float8 END AS silent
       FROM attempt LEFT JOIN worker ON worker.id = worker_id WHERE job_id = ANY($1) ORDER BY job_id, epoch`,
      [jobIds],
    );
  }

  /** Newest first; one more than asked for, so that the caller knows whether there are more. */
  async list(projectId: string, filter: JobFilter): Promise<Job[]> {
    if (filter.after) await this.row(projectId, filter.after, 'after');
    const query = this.database.manager
      .getRepository(Job)
      .createQueryBuilder('job')
      .where('job.project_id = :projectId', { projectId })
      .orderBy('job.created_at', 'DESC')
      .addOrderBy('job.id', 'DESC')
      .limit(filter.limit + 1);
    // Compared inside the database: a Date would lose the microseconds.
    if (filter.after) {
      query.andWhere(
        '(job.created_at, job.id) < (SELECT created_at, id FROM job WHERE id = :after)',
        { after: filter.after },
      );
    }
    if (filter.status) query.andWhere('job.state = :status', { status: filter.status });
    filter.words.forEach((word, n) =>
      query.andWhere(`${SEARCHED} ILIKE :word${n}`, {
        [`word${n}`]: `%${word.replaceAll(/[\\%_]/g, '\\$&')}%`,
      }),
    );
    if (filter.metadata === null) query.andWhere('job.metadata IS NULL');
    else if (filter.metadata)
      query.andWhere('job.metadata @> :metadata', { metadata: JSON.stringify(filter.metadata) });
    return query.getMany();
  }

  /** Jobs of a project changed at `since` or later, the earliest change first. */
  changed(projectId: string, since: Date, limit: number): Promise<Job[]> {
    return this.database.manager
      .getRepository(Job)
      .createQueryBuilder('job')
      .where('job.project_id = :projectId AND job.updated_at >= :since', { projectId, since })
      .orderBy('job.updated_at', 'ASC')
      .limit(limit)
      .getMany();
  }
}
