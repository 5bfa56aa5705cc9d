import { Injectable } from '@nestjs/common';
import { DomainError, type ProjectLimits } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { requireActive } from '../../auth/active-project.js';
import { DEFAULT_PROJECT } from '../../auth/keys/api-keys.service.js';
import { Database } from '../../database/database.js';
import type { Project } from '../../database/entities/tenancy.js';
import { Usage } from '../usage.js';

/** Priority of a job that sets none. */
const DEFAULT_PRIORITY = 100;

/** Maximum number of unfinished eval runs of a project. Each has up to 64 MiB of items. */
const MOST_EVAL_RUNS = 1_000;
/**
 * SQL: counts a project's unfinished eval runs. Runs for checkpoints are excluded because jobs create them,
 * and jobs have their own limits.
 */
const OPEN_RUNS = `SELECT count(*)::int FROM eval_run
  WHERE project_id = $1 AND job_id IS NULL AND status IN ('queued', 'in_progress')`;

/** Limits of a project and its usage. */
export interface ProjectUse {
  readonly weight: number;
  readonly limits: ProjectLimits;
  readonly runningJobs: number;
  readonly queuedJobs: number;
  /** Chats in progress or waiting. */
  readonly chats: number;
  readonly evalRuns: number;
  readonly tokensToday: number;
  readonly tokensResetAt: Date;
}

interface Counts {
  readonly running: number;
  readonly queued: number;
  readonly chats: number;
  readonly runs: number;
}

/**
 * Rejects jobs, eval runs and tokens beyond a project's limits. `running_jobs` does not reject jobs; they
 * wait (next-job.ts).
 */
@Injectable()
export class Quotas {
  constructor(
    private readonly database: Database,
    private readonly usage: Usage,
  ) {}

  /**
   * Returns how many chats background work of the project may have in progress: at most half of its limit, which leaves the
   * others to its users.
   */
  async backgroundChats(projectId: string, most: number): Promise<number> {
    const { chats = null } = (await this.project(projectId)).limits;
    return chats === null ? most : Math.max(1, Math.min(most, Math.floor(chats / 2)));
  }

  async use(projectId: string): Promise<ProjectUse> {
    const { weight, limits } = await this.project(projectId);
    const { tokens, resetsAt } = await this.usage.today(projectId);
    const [jobs] = await this.database.query<Counts>(
      `SELECT count(*) FILTER (WHERE state = 'running')::int AS running,
         count(*) FILTER (WHERE state = 'queued')::int AS queued,
         (SELECT count(*)::int FROM answer WHERE project_id = $1 AND until > clock_timestamp()) AS chats,
         (${OPEN_RUNS}) AS runs
       FROM job WHERE project_id = $1 AND state IN ('running', 'queued')`,
      [projectId],
    );
    return {
      weight,
      limits,
      runningJobs: jobs?.running ?? 0,
      queuedJobs: jobs?.queued ?? 0,
      chats: jobs?.chats ?? 0,
      evalRuns: jobs?.runs ?? 0,
      tokensToday: tokens,
      tokensResetAt: resetsAt,
    };
  }

  /**
   * Checks the limits before a job is created. Call it in the transaction that creates the job, so that no
   * job is created in a project that was just archived.
   */
  async admitJob(manager: EntityManager, projectId: string): Promise<void> {
    const { limits } = await requireActive(this.database, manager, projectId);
    const { queued_jobs: limit } = limits;
    await this.admitTokensWithin(limits, projectId, manager);
    if (limit === undefined) return;
    // Without the lock, each of several concurrent transactions could create the last allowed job.
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`queued ${projectId}`],
      manager,
    );
    const [row] = await this.database.query<{ queued: number }>(
      `SELECT count(*)::int AS queued FROM job WHERE project_id = $1 AND state = 'queued'`,
      [projectId],
      manager,
    );
    if ((row?.queued ?? 0) >= limit)
      throw new DomainError(
        'insufficient_quota',
        `${row?.queued ?? 0} jobs of this project are queued; its limit (queued_jobs) is ${limit}. Wait until some have started`,
        null,
        60,
      );
  }

  /**
   * Rejects an eval run before its items are read. Concurrent runs may all pass this check; `admitEvalRun`
   * is exact.
   */
  async checkEvalRuns(projectId: string): Promise<void> {
    await this.admitRunsWithin((await this.project(projectId)).limits, projectId, null);
  }

  /**
   * Checks the limit of eval runs. Call it in the transaction that has inserted the run; other runs of the
   * project wait until the transaction ends.
   */
  async admitEvalRun(manager: EntityManager, projectId: string, run: string): Promise<void> {
    const { limits } = await requireActive(this.database, manager, projectId);
    // Without the lock, each of several concurrent transactions could create the last allowed run.
    await this.database.query(
      'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
      [`eval runs ${projectId}`],
      manager,
    );
    await this.admitRunsWithin(limits, projectId, run, manager);
  }

  /** Checks the number of open eval runs without `run`, the new one. */
  private async admitRunsWithin(
    limits: ProjectLimits,
    projectId: string,
    run: string | null,
    manager?: EntityManager,
  ): Promise<void> {
    const [row] = await this.database.query<{ runs: number }>(
      `SELECT (${OPEN_RUNS} AND id IS DISTINCT FROM $2) AS runs`,
      [projectId, run],
      manager,
    );
    const runs = row?.runs ?? 0;
    const limit = limits.eval_runs ?? MOST_EVAL_RUNS;
    if (runs >= MOST_EVAL_RUNS)
      throw new DomainError(
        'queue_full',
        `This project has ${runs} unfinished eval runs; the most is ${MOST_EVAL_RUNS}. Wait until some have finished.`,
        null,
        60,
      );
    if (runs >= limit)
      throw new DomainError(
        'insufficient_quota',
        `This project has ${runs} unfinished eval runs; its limit (eval_runs) is ${limit}. Wait until some have finished.`,
        null,
        60,
      );
  }

  /** Rejects a job or chat if the project has used its tokens of today. */
  async admitTokens(projectId: string, manager?: EntityManager): Promise<void> {
    await this.admitTokensWithin(
      (await this.project(projectId, manager)).limits,
      projectId,
      manager,
    );
  }

  private async admitTokensWithin(
    { tokens_per_day: limit }: ProjectLimits,
    projectId: string,
    manager?: EntityManager,
  ): Promise<void> {
    if (limit === undefined) return;
    const { tokens, resetsAt, secondsLeft } = await this.usage.today(projectId, manager);
    if (tokens < limit) return;
    const number = (n: number): string => n.toLocaleString('en');
    throw new DomainError(
      'insufficient_quota',
      `this project has used ${number(tokens)} tokens today; its limit (tokens_per_day) is ${number(limit)}. It resets at ${resetsAt.toISOString()}`,
      null,
      secondsLeft,
    );
  }

  private async project(
    projectId: string,
    manager?: EntityManager,
  ): Promise<Pick<Project, 'weight' | 'limits'>> {
    const [project] = await this.database.query<Project>(
      'SELECT weight, limits FROM project WHERE id = $1',
      [projectId],
      manager,
    );
    if (!project) throw new DomainError('not_found', `no such project: ${projectId}`, 'project_id');
    return project;
  }
}

/**
 * Lowest `priority` that a project's jobs may have. By default, only jobs of the default project may have a
 * lower number than the default priority.
 */
export const highestPriority = (projectId: string, { priority }: ProjectLimits): number =>
  priority ?? (projectId === DEFAULT_PROJECT ? 1 : DEFAULT_PRIORITY);

/**
 * Returns the priority of a job. `requested` is the value in the request, if any.
 * @throws DomainError if the project cannot use a number that low
 */
export function priorityWithin(
  projectId: string,
  limits: ProjectLimits,
  requested: number | undefined,
): number {
  const highest = highestPriority(projectId, limits);
  const priority = requested ?? Math.max(DEFAULT_PRIORITY, highest);
  if (priority < highest)
    throw new DomainError(
      'invalid_value',
      `graft.priority: expected at least ${highest} in this project, got ${priority}; jobs with a lower number start first`,
      'graft.priority',
    );
  return priority;
}
