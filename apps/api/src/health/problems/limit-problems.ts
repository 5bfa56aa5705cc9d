import { Injectable } from '@nestjs/common';
import type { ProjectLimits } from '@graft/contracts';
import { StorageQuota } from '../../blobs/storage-quota.js';
import { Database } from '../../database/database.js';
import { Quotas } from '../../lifecycle/lease/quotas.js';
import { MOST, type Problem, type Viewer } from './problem.js';

/** Fraction of a limit from which it counts as near. */
const NEAR = 0.9;

interface Measured {
  readonly limit: number | undefined;
  readonly used: number;
  /** Name of what is limited, and the consequence of reaching the limit. */
  readonly what: string;
  readonly then: string;
  readonly action: string;
}

const RAISE = 'ask an administrator for a higher limit';

/** Limits that a project has reached, or is near. Limits of momentary use are reported only once they are reached. */
@Injectable()
export class LimitProblems {
  constructor(
    private readonly database: Database,
    private readonly quotas: Quotas,
    private readonly storage: StorageQuota,
  ) {}

  async of({ projectId, isAdmin }: Viewer): Promise<Problem[]> {
    const limited = await this.database.query<{ id: string; name: string }>(
      `SELECT id, name FROM project WHERE (id = $1 OR $2) AND limits <> '{}' AND archived_at IS NULL AND deleted_at IS NULL
       ORDER BY id = $1 DESC, id LIMIT ${MOST}`,
      [projectId, isAdmin],
    );
    const found: Problem[] = [];
    for (const project of limited) found.push(...(await this.ofProject(project)));
    return found;
  }

  private async ofProject(project: {
    readonly id: string;
    readonly name: string;
  }): Promise<Problem[]> {
    const { limits, ...use } = await this.quotas.use(project.id);
    const storage = limits.storage_bytes === undefined ? 0 : await this.storage.used(project.id);
    const measured: Partial<Record<keyof ProjectLimits, Measured>> = {
      storage_bytes: {
        limit: limits.storage_bytes,
        used: storage,
        what: 'storage',
        then: 'uploads and checkpoints are rejected',
        action: `Delete files or jobs, or ${RAISE}`,
      },
      tokens_per_day: {
        limit: limits.tokens_per_day,
        used: use.tokensToday,
        what: 'tokens of today',
        then: 'new jobs and chats are rejected until tomorrow (UTC)',
        action: `Wait until tomorrow, or ${RAISE}`,
      },
      queued_jobs: {
        limit: limits.queued_jobs,
        used: use.queuedJobs,
        what: 'queued jobs',
        then: 'new jobs are rejected',
        action: `Wait until some have started, cancel some, or ${RAISE}`,
      },
      eval_runs: {
        limit: limits.eval_runs,
        used: use.evalRuns,
        what: 'unfinished eval runs',
        then: 'new eval runs are rejected',
        action: `Wait until some have finished, or ${RAISE}`,
      },
    };
    return Object.entries(measured).flatMap(
      ([name, one]) => limitProblem(project, name, one) ?? [],
    );
  }
}

function limitProblem(
  project: { readonly id: string; readonly name: string },
  name: string,
  { limit, used, what, then, action }: Measured,
): Problem | null {
  if (limit === undefined || limit <= 0 || used < NEAR * limit) return null;
  const isReached = used >= limit;
  const share = Math.floor((100 * used) / limit);
  return {
    code: isReached ? 'limit_reached' : 'limit_near',
    severity: isReached ? 'error' : 'warning',
    title: isReached
      ? `Project ${project.name} has reached its limit of ${what}: ${then}`
      : `Project ${project.name} has used ${share} % of its limit of ${what}`,
    action,
    since: null,
    subject: { type: 'limit', id: name, name: what },
    project_id: project.id,
  };
}
