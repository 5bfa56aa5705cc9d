import { Injectable } from '@nestjs/common';
import { DomainError, InterruptJob, parseBody, type JobInterruptObject } from '@graft/contracts';
import { Command_Action } from '@graft/contracts/grpc';
import type { EntityManager } from 'typeorm';
import { Audit } from '../auth/audit.js';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import { JobsRepository } from '../history/jobs.repository.js';
import { Interruption, type InterruptedAttempt } from '../lifecycle/interruption.js';
import { WorkerLink } from '../relay/worker-link.js';

/** Kills trainer processes on request, for demonstrations and drills. */
@Injectable()
export class JobInterrupts {
  constructor(
    private readonly database: Database,
    private readonly jobs: JobsRepository,
    private readonly interruption: Interruption,
    private readonly link: WorkerLink,
    private readonly audit: Audit,
  ) {}

  /**
   * Sends the worker of a running job the command to kill the trainer process. It is sent once: unlike a pause, it must not happen
   * later.
   * @throws DomainError "unavailable" if it did not reach the worker
   */
  async interrupt(caller: Principal, id: string, body: unknown): Promise<JobInterruptObject> {
    const { force = false } = parseBody(InterruptJob, body ?? {});
    const { projectId } = caller;
    await this.jobs.row(projectId, id);
    const attempts = await this.database.transaction(async (manager) => {
      const name = await this.nameOf(manager, caller);
      const found = await this.interruption.record(manager, id, { name, projectId, force });
      await this.write(manager, caller, found);
      return found;
    });
    const target = attempts.find((one) => one.id === id) as InterruptedAttempt;
    const { worker_name: worker, process } = target;
    if (!(await this.link.sendCommand(target, Command_Action.ACTION_INTERRUPT)))
      throw new DomainError(
        'unavailable',
        `worker ${worker} cannot be reached; nothing was interrupted`,
      );
    const own = attempts.filter(({ project_id: owner }) => owner === projectId);
    return {
      object: 'graft.job_interrupt',
      job_id: id,
      worker,
      process,
      jobs: own.map((one) => ({
        id: one.id,
        attempt: one.attempt,
        step: one.step,
        resumes_from: one.resumes_from,
      })),
      others: attempts.length - own.length,
    };
  }

  /** Writes an entry for each interrupted job, in the audit log of its project. */
  private async write(
    manager: EntityManager,
    caller: Principal,
    attempts: readonly InterruptedAttempt[],
  ): Promise<void> {
    for (const { id, project_id: projectId, attempt, worker_name: worker } of attempts)
      await this.audit.write(manager, {
        caller,
        action: 'job.interrupted',
        target: id,
        detail: { attempt, worker },
        projectId,
      });
  }

  /** Returns the name of the caller's member or, without one, of its key. */
  private async nameOf(manager: EntityManager, { keyId }: Principal): Promise<string> {
    const [row] = await this.database.query<{ name: string }>(
      `SELECT COALESCE(member.name, api_key.name) AS name
       FROM api_key LEFT JOIN member ON member.id = api_key.member_id WHERE api_key.id = $1`,
      [keyId],
      manager,
    );
    return row?.name ?? 'an administrator';
  }
}
