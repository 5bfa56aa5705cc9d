import { Injectable } from '@nestjs/common';
import { DomainError, type Page, type SweepObject, type SweepStatus } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import { Audit } from '../auth/audit.js';
import { Pools, POOL_NEVER_JOINED } from '../auth/pools.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { IS_OPEN, type Job } from '../database/entities/job.js';
import { Sweep } from '../database/entities/sweeps.js';
import { pageOf, pageQuery } from '../http/parse.js';
import { unix } from '../ids.js';
import { JobTransitions } from '../lifecycle/job-transitions.js';
import { WorkerLink } from '../relay/worker-link.js';
import { bestOf, endedEarly, scoreOf, trialObject, Trials, type TrialSummary } from './trials.js';

@Injectable()
export class SweepsService {
  constructor(
    private readonly database: Database,
    private readonly trials: Trials,
    private readonly transitions: JobTransitions,
    private readonly link: WorkerLink,
    private readonly audit: Audit,
    private readonly pools: Pools,
  ) {}

  /** Lists sweeps, newest first, without their trials. */
  async list(caller: Principal, query: Record<string, unknown>): Promise<Page<SweepObject>> {
    const { limit, after } = pageQuery(query, 20, 100);
    if (after) await this.row(caller, after, 'after');
    const rows = await this.database.query<Sweep>(
      `SELECT * FROM sweep WHERE project_id = $1 AND ($2::text IS NULL OR
         (created_at, id) < (SELECT created_at, id FROM sweep WHERE id = $2))
       ORDER BY created_at DESC, id DESC LIMIT $3`,
      [caller.projectId, after, limit + 1],
    );
    const trials = await this.trials.summaries(rows.slice(0, limit).map(({ id }) => id));
    return pageOf(rows, limit, (row) => sweepObject(row, trials.get(row.id) ?? []));
  }

  async get(caller: Principal, id: string): Promise<SweepObject> {
    const row = await this.row(caller, id);
    const rows = await this.trials.of(id);
    const trials = rows.filter(isShown).map((trial) => trialObject(trial, row.search.metric));
    const messages = await this.pools.neverJoinedWarnings(caller.projectId, id);
    const warnings = messages.map((message) => ({ code: POOL_NEVER_JOINED, message, step: null }));
    return { ...sweepObject(row, rows), warnings, trials };
  }

  /** Cancels the unfinished trials. Models of the others are kept. */
  async cancel(caller: Principal, id: string): Promise<SweepObject> {
    await this.row(caller, id);
    let before: Job[] | null = null;
    const cancelled = await this.database.transaction(async (manager) => {
      await this.database.query('SELECT 1 FROM sweep WHERE id = $1 FOR UPDATE', [id], manager);
      const open = await this.database.query<Job>(
        `SELECT * FROM job WHERE sweep_id = $1 AND ${IS_OPEN} ORDER BY state = 'running' DESC, id FOR UPDATE`,
        [id],
        manager,
      );
      const [sweep] = await this.database.query<{ was: boolean }>(
        `UPDATE sweep SET cancelled_at = clock_timestamp() FROM sweep old
         WHERE sweep.id = $1 AND old.id = $1 AND (old.cancelled_at IS NOT NULL OR $2) RETURNING true AS was`,
        [id, open.length > 0],
        manager,
      );
      if (!sweep)
        throw new DomainError(
          'invalid_state',
          `all trials of ${id} are over; there is nothing to cancel`,
          'sweep_id',
        );
      before ??= open;
      for (const job of open) await this.transitions.cancel(manager, job);
      await this.audit.write(manager, { caller, action: 'sweep.cancelled', target: id });
      return before;
    });
    for (const job of cancelled)
      if (job.state === 'running') void this.link.command(job, Command_Action.ACTION_CANCEL);
    return this.get(caller, id);
  }

  /** @throws DomainError not_found, also if the sweep belongs to another project */
  private async row(caller: Principal, id: string, param = 'sweep_id'): Promise<Sweep> {
    const found = await this.database.manager
      .getRepository(Sweep)
      .findOneBy({ id, project_id: caller.projectId });
    if (!found) throw new DomainError('not_found', `No such sweep: ${id.slice(0, 60)}`, param);
    return found;
  }
}

const isShown = (row: TrialSummary): boolean => row.deleted_at === null;

function sweepObject(sweep: Sweep, all: readonly TrialSummary[]): SweepObject {
  const { metric } = sweep.search;
  const trials = all.filter(isShown);
  const best = bestOf(trials, metric);
  const counts = countsOf(trials);
  const isScoring = trials.some(({ scoring }) => scoring);
  return {
    object: 'graft.sweep',
    id: sweep.id,
    name: sweep.name,
    created_at: unix(sweep.created_at),
    model: sweep.model,
    status: isScoring ? 'running' : statusOf(sweep, countsOf(all)),
    search: sweep.search,
    training_file: sweep.training_file,
    metadata: sweep.metadata,
    suffix: sweep.suffix,
    trial_counts: counts,
    ended_early: trials.filter(endedEarly).length,
    winner: best && {
      trial: best.trial,
      job: best.id,
      score: scoreOf(best, metric) as number,
      model: best.fine_tuned_model as string,
    },
  };
}

type Counts = SweepObject['trial_counts'];

function countsOf(trials: readonly TrialSummary[]): Counts {
  const counts = {
    total: trials.length,
    queued: 0,
    running: 0,
    succeeded: 0,
    failed: 0,
    cancelled: 0,
  };
  for (const { state } of trials) counts[state === 'paused' ? 'queued' : state]++;
  return counts;
}

/**
 * @param counts of all trials, including deleted ones that can be restored; `gone` has the statuses of the
 * others
 */
function statusOf({ cancelled_at: cancelled, gone }: Sweep, counts: Counts): SweepStatus {
  const had = (state: 'succeeded' | 'failed'): boolean => counts[state] > 0 || gone.includes(state);
  if (counts.running > 0) return 'running';
  if (counts.queued > 0) return counts.queued === counts.total ? 'queued' : 'running';
  if (cancelled !== null) return 'cancelled';
  if (had('succeeded')) return 'succeeded';
  return had('failed') ? 'failed' : 'cancelled';
}
