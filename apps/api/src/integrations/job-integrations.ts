import { DomainError, INTEGRATION_NAMES, type JobIntegration } from '@graft/contracts';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Principal } from '../auth/principal.js';
import { Database } from '../database/database.js';
import type { Integration, RunSettings } from '../database/entities/integrations.js';

type RequestedIntegrations = readonly JobIntegration[] | null | undefined;

/** Tracker that a job is sent to, with the settings of its run. */
export interface JobRun {
  readonly type: JobIntegration['type'];
  readonly settings: RunSettings;
}

@Injectable()
export class JobIntegrations {
  constructor(private readonly database: Database) {}

  /**
   * Returns the trackers that a create call names. Without any, those that the project has set up for every
   * job.
   * @throws DomainError for a tracker that the project has not set up
   */
  async of(caller: Principal, requested: RequestedIntegrations): Promise<JobRun[]> {
    if (requested?.length === 0) return [];
    const known = await this.database.query<
      Pick<Integration, 'type' | 'project' | 'entity' | 'every_job'>
    >(
      'SELECT type, project, entity, every_job FROM integration WHERE project_id = $1 ORDER BY type',
      [caller.projectId],
    );
    if (!requested)
      return known
        .filter(({ every_job: every }) => every)
        .map(({ type, project, entity }) => ({
          type,
          settings: { project, entity, name: null, tags: type === 'wandb' ? [] : {} },
        }));
    return requested.map((one, n) => {
      const connection = known.find(({ type }) => type === one.type);
      if (!connection)
        throw new DomainError(
          'invalid_value',
          `integrations.${n}.type: the project has not set up ${INTEGRATION_NAMES[one.type]}; its owner does so with graft integrations set ${one.type}`,
          `integrations.${n}.type`,
        );
      return { type: one.type, settings: settingsOf(one, connection.entity) };
    });
  }

  /** Creates the runs, in the transaction that creates the job. */
  async write(
    manager: EntityManager,
    projectId: string,
    jobId: string,
    runs: readonly JobRun[],
  ): Promise<void> {
    for (const { type, settings } of runs)
      await this.database.query(
        `INSERT INTO integration_run (job_id, type, project_id, settings, next_at)
         VALUES ($1, $2, $3, $4, clock_timestamp()) ON CONFLICT DO NOTHING`,
        [jobId, type, projectId, JSON.stringify(settings)],
        manager,
      );
  }

  /** Reopens finished runs of a job, in the transaction that adds an event after the job's end. */
  async reopen(manager: EntityManager, jobId: string): Promise<void> {
    await this.database.query(
      `UPDATE integration_run AS run SET status = 'open', next_at = clock_timestamp()
       WHERE job_id = $1 AND status = 'done' AND EXISTS (
         SELECT 1 FROM integration AS one WHERE one.project_id = run.project_id AND one.type = run.type)`,
      [jobId],
      manager,
    );
  }
}

function settingsOf(one: JobIntegration, entity: string | null): RunSettings {
  if (one.type === 'wandb') {
    const { project, name = null, tags } = one.wandb;
    return { project, name, entity: one.wandb.entity ?? entity, tags: tags ?? [] };
  }
  const { experiment, name = null, tags } = one.mlflow;
  return { project: experiment, name, entity: null, tags: tags ?? {} };
}
