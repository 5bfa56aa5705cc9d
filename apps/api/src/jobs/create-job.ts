import { Injectable } from '@nestjs/common';
import type { JobObject } from '@graft/contracts';
import type { AuditEntry } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { Outbox } from '../lifecycle/outbox.js';
import { newId } from '../ids.js';
import { JobPlans } from '../preview/job-plans.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { draftOf, JobDrafts, operationDraft, type Draft } from './job-drafts.js';
import { OperationPlans } from './operation-plans.js';
import { callOf, RepeatedCalls } from './repeated-calls.js';
import type { CallHeaders } from './create-headers.js';

@Injectable()
export class JobCreation {
  constructor(
    private readonly database: Database,
    private readonly plans: JobPlans,
    private readonly operations: OperationPlans,
    private readonly jobs: JobsRepository,
    private readonly outbox: Outbox,
    private readonly calls: RepeatedCalls,
    private readonly drafts: JobDrafts,
  ) {}

  /** Validates the request, then commits job, outbox row, first events and idempotency row together. */
  create(caller: Principal, body: unknown, headers: CallHeaders): Promise<JobObject> {
    return this.make(caller, body, headers, async () => draftOf(await this.plans.of(caller, body)));
  }

  /** Same as `create`, for operations on adapters instead of training. */
  operate(caller: Principal, body: unknown, headers: CallHeaders): Promise<JobObject> {
    return this.make(caller, { operation: body }, headers, async () =>
      operationDraft(await this.operations.of(caller, body)),
    );
  }

  /** @param body the part of the request that identifies repeated calls */
  private async make(
    caller: Principal,
    body: unknown,
    { marks, parent }: CallHeaders,
    plan: () => Promise<Draft>,
  ): Promise<JobObject> {
    const call = callOf(caller, body, marks);
    const earlier = await this.calls.createdJob(call);
    if (earlier) return this.jobs.object(caller.projectId, earlier);

    const draft = await plan();
    const id = newId('ftjob-');
    const created = await this.database.transaction(async (manager) => {
      const taken = await this.calls.claim(manager, call, id);
      if (taken !== null) return taken;
      const { model, pool } = draft.job;
      const detail = { model, pool };
      const auditEntry: AuditEntry = { caller, action: 'job.created', target: id, detail };
      return this.drafts.write(manager, caller, draft, { id, auditEntry, parent });
    });
    this.outbox.nudge();
    return typeof created === 'string'
      ? this.jobs.object(caller.projectId, created)
      : this.jobs.created(created, draft.neverJoined);
  }
}
