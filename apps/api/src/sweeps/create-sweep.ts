import { Injectable } from '@nestjs/common';
import type { SweepObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { jsonbText } from '../database/jsonb.js';
import { newId } from '../ids.js';
import { draftOf, JobDrafts, type Draft } from '../jobs/job-drafts.js';
import type { CallHeaders } from '../jobs/create-headers.js';
import { callOf, RepeatedCalls } from '../jobs/repeated-calls.js';
import { Outbox } from '../lifecycle/outbox.js';
import { describeOptions } from './search-space.js';
import { SweepPlans, type SweepPlan } from './sweep-plans.js';
import { SweepsService } from './sweeps.service.js';

@Injectable()
export class SweepCreation {
  constructor(
    private readonly database: Database,
    private readonly plans: SweepPlans,
    private readonly sweeps: SweepsService,
    private readonly calls: RepeatedCalls,
    private readonly drafts: JobDrafts,
    private readonly outbox: Outbox,
    private readonly audit: Audit,
  ) {}

  /** Creates a sweep. All trials are checked first; then the sweep and its jobs are committed together. */
  async create(
    caller: Principal,
    body: unknown,
    { marks, parent }: CallHeaders,
  ): Promise<SweepObject> {
    const call = callOf(caller, { sweep: body }, marks);
    const earlier = await this.calls.createdJob(call);
    if (earlier) return this.sweeps.get(caller, earlier);

    const plan = await this.plans.of(caller, body);
    const id = newId('sweep-');
    const drafts = plan.trials.map((trial, n) => {
      const draft = draftOf(trial.plan);
      const message = `Trial ${n + 1} of ${id}: ${describeOptions(trial.options)}`;
      return { ...draft, notes: [{ message }, ...draft.notes] };
    });
    // Choose the ids before the transaction, which may run again after it was committed.
    const jobs = drafts.map(() => newId('ftjob-'));
    const created = await this.database.transaction(async (manager) => {
      const taken = await this.calls.claim(manager, call, id);
      if (taken !== null) return taken;
      await this.insert(manager, caller, id, plan);
      for (const [n, { options }] of plan.trials.entries())
        await this.drafts.write(manager, caller, drafts[n] as Draft, {
          id: jobs[n] as string,
          auditEntry: null,
          parent,
          trial: { sweep: id, number: n + 1, options },
        });
      const { model, pool } = (drafts[0] as Draft).job;
      const detail = { model, pool, trials: jobs.length };
      await this.audit.write(manager, { caller, action: 'sweep.created', target: id, detail });
      return id;
    });
    this.outbox.nudge();
    return this.sweeps.get(caller, created);
  }

  private async insert(
    manager: EntityManager,
    caller: Principal,
    id: string,
    { request, search, trials: [first] }: SweepPlan,
  ): Promise<void> {
    const { model, training_file: file, suffix, metadata } = first.plan.request;
    await this.database.query(
      `INSERT INTO sweep (id, project_id, request, search, model, training_file, suffix, metadata)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [
        id,
        caller.projectId,
        jsonbText(request),
        jsonbText(search),
        model,
        file,
        suffix ?? null,
        metadata ? jsonbText(metadata) : null,
      ],
      manager,
    );
  }
}
