import { Injectable } from '@nestjs/common';
import { trialLabel, type SweepObject } from '@graft/contracts';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { jsonbText } from '../database/jsonb.js';
import { newId } from '../ids.js';
import { draftOf, JobDrafts, type Draft } from '../jobs/job-drafts.js';
import type { CallHeaders } from '../jobs/create-headers.js';
import { callOf, RepeatedCalls } from '../jobs/repeated-calls.js';
import { DefaultNames, fileStem, limited } from '../lifecycle/default-names.js';
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
    private readonly names: DefaultNames,
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
      const name = await this.nameOf(manager, caller.projectId, plan);
      await this.insert(manager, caller, { id, name }, plan);
      const names = trialNames(name, plan);
      for (const [n, { options }] of plan.trials.entries())
        await this.drafts.write(manager, caller, drafts[n] as Draft, {
          id: jobs[n] as string,
          auditEntry: null,
          parent,
          trial: { sweep: id, number: n + 1, name: names[n] as string, options },
        });
      const { model, pool } = (drafts[0] as Draft).job;
      const detail = { model, pool, trials: jobs.length };
      await this.audit.write(manager, { caller, action: 'sweep.created', target: id, detail });
      return id;
    });
    this.outbox.nudge();
    return this.sweeps.get(caller, created);
  }

  /** The suffix, or a name such as `tickets-methods-1`. */
  private async nameOf(
    manager: EntityManager,
    projectId: string,
    { search, trials: [first] }: SweepPlan,
  ): Promise<string> {
    const { suffix } = first.plan.request;
    if (suffix) {
      await this.names.reserve(manager, projectId, suffix);
      return suffix;
    }
    const kind = search.preset ?? 'sweep';
    const stem = `${fileStem(first.plan.training.filename)}-${kind}`;
    return this.names.next(manager, projectId, { stem });
  }

  private async insert(
    manager: EntityManager,
    caller: Principal,
    { id, name }: { readonly id: string; readonly name: string },
    { request, search, trials: [first] }: SweepPlan,
  ): Promise<void> {
    const { model, training_file: file, suffix, metadata } = first.plan.request;
    await this.database.query(
      `INSERT INTO sweep (id, project_id, request, search, model, training_file, suffix, metadata, name)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [
        id,
        caller.projectId,
        jsonbText(request),
        jsonbText(search),
        model,
        file,
        suffix ?? null,
        metadata ? jsonbText(metadata) : null,
        name,
      ],
      manager,
    );
  }
}

/** Names of the trials: that of the sweep, and what differs. A repeated name gets the number of the trial. */
function trialNames(sweep: string, { trials }: SweepPlan): string[] {
  const names: string[] = [];
  for (const [n, { options }] of trials.entries()) {
    const label = trialLabel({ options });
    const name = limited(`${sweep} · ${label || n + 1}`);
    names.push(names.includes(name) ? limited(`${sweep} · ${n + 1} · ${label}`) : name);
  }
  return names;
}
