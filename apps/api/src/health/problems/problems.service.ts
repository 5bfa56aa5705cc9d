import { Injectable } from '@nestjs/common';
import type { Page, ProblemObject, ProblemSeverity } from '@graft/contracts';
import { isAdmin, type Principal } from '../../auth/principal.js';
import { FailureProblems } from './failure-problems.js';
import { LimitProblems } from './limit-problems.js';
import type { Problem } from './problem.js';
import { QueueProblems } from './queue-problems.js';
import { ServiceProblems } from './service-problems.js';
import { WorkerProblems } from './worker-problems.js';

/** Milliseconds for which a list is reused: dashboards of several users poll it. */
const GOOD_MS = 2_000;
/** Number of projects whose lists are cached. */
const KEPT = 500;

const RANK: Readonly<Record<ProblemSeverity, number>> = { error: 0, warning: 1, info: 2 };

interface Kept {
  readonly at: number;
  readonly found: Promise<Page<ProblemObject>>;
}

/** Lists what is wrong now, most severe and newest first. */
@Injectable()
export class ProblemsService {
  private readonly kept = new Map<string, Kept>();

  constructor(
    private readonly workers: WorkerProblems,
    private readonly queues: QueueProblems,
    private readonly failures: FailureProblems,
    private readonly limits: LimitProblems,
    private readonly service: ServiceProblems,
  ) {}

  list(caller: Principal): Promise<Page<ProblemObject>> {
    const key = `${isAdmin(caller)} ${caller.projectId}`;
    const known = this.kept.get(key);
    if (known && performance.now() - known.at < GOOD_MS) return known.found;
    const found = this.find(caller);
    this.kept.delete(key);
    this.kept.set(key, { at: performance.now(), found });
    found.catch(() => this.kept.delete(key));
    const [oldest] = this.kept.keys();
    if (this.kept.size > KEPT && oldest !== undefined) this.kept.delete(oldest);
    return found;
  }

  private async find(caller: Principal): Promise<Page<ProblemObject>> {
    const viewer = { projectId: caller.projectId, isAdmin: isAdmin(caller) };
    const sources = [this.service, this.queues, this.workers, this.limits, this.failures];
    const found = await Promise.all(sources.map((source) => source.of(viewer)));
    const data = found
      .flat()
      .sort(bySeverity)
      .map((problem) => ({ object: 'graft.problem' as const, ...problem }));
    return { object: 'list', data, has_more: false };
  }
}

/** Compares by severity, then newest first. Problems whose begin is unknown come first. */
function bySeverity(a: Problem, b: Problem): number {
  return RANK[a.severity] - RANK[b.severity] || (b.since ?? Infinity) - (a.since ?? Infinity) || 0;
}
