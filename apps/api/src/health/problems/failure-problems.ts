import { Injectable } from '@nestjs/common';
import type { IntegrationType, JobError } from '@graft/contracts';
import { Database } from '../../database/database.js';
import { JOB_NAME } from '../../history/job-name.js';
import { unix } from '../../ids.js';
import { inTitle, MOST, visible, type Problem, type Viewer } from './problem.js';

/** Days for which a failed import is reported. */
const IMPORT_DAYS = 7;

const ACTIONS: Readonly<Record<string, string>> = {
  nonfinite: 'Clone the job with a lower learning rate',
  oom_host: 'Clone the job with a smaller batch, or enable gradient checkpointing',
  oom_heap: 'Clone the job with a smaller batch, or enable gradient checkpointing',
  oom_gpu: 'Clone the job with a smaller batch, or enable gradient checkpointing',
  no_memory: 'Choose a smaller base, quantize it, or run the job on a worker with more memory',
  disk_full: 'Free disk space on the worker, then clone the job',
};

/** Jobs that failed in the last 24 hours, failed imports, webhooks and trackers. */
@Injectable()
export class FailureProblems {
  constructor(private readonly database: Database) {}

  async of(viewer: Viewer): Promise<Problem[]> {
    const found = await Promise.all([
      this.jobs(viewer),
      this.imports(),
      this.webhooks(viewer),
      this.trackers(viewer),
    ]);
    return found.flat();
  }

  /** Archived jobs are not reported. The subquery of projects lets each use the index job_changed. */
  private async jobs({ projectId, isAdmin }: Viewer): Promise<Problem[]> {
    const rows = await this.database.query<{
      id: string;
      name: string;
      project_id: string;
      error: JobError | null;
      finished_at: Date;
    }>(
      `SELECT job.id, ${JOB_NAME} AS name, project_id, error, finished_at
       FROM job JOIN project ON project.id = job.project_id AND (project.id = $1 OR $2)
       WHERE state = 'failed' AND job.updated_at > clock_timestamp() - interval '1 day'
         AND finished_at > clock_timestamp() - interval '1 day' AND job.archived_at IS NULL AND job.deleted_at IS NULL
       ORDER BY finished_at DESC LIMIT ${MOST}`,
      [projectId, isAdmin],
    );
    return rows.map(({ id, name, project_id, error, finished_at }) => ({
      code: 'job_failed',
      severity: 'warning',
      title: `Job ${name} failed${error ? `: ${inTitle(error.message)}` : ''}`,
      action: `${ACTIONS[error?.code ?? ''] ?? 'Fix the cause and clone the job'}, or archive it`,
      since: unix(finished_at),
      subject: { type: 'job', id, name },
      project_id,
    }));
  }

  /** Bases belong to all projects. */
  private async imports(): Promise<Problem[]> {
    const rows = await this.database.query<{ id: string; details: string | null; at: Date }>(
      `SELECT id, status_details AS details, created_at AS at FROM model
       WHERE status = 'error' AND created_at > clock_timestamp() - interval '${IMPORT_DAYS} days' AND deleted_at IS NULL
       ORDER BY created_at DESC LIMIT ${MOST}`,
    );
    return rows.map(({ id, details, at }) => ({
      code: 'import_failed',
      severity: 'warning',
      title: `Import of ${id} failed${details ? `: ${inTitle(details)}` : ''}`,
      action: 'Fix the cause and import the model again, or delete it',
      since: unix(at),
      subject: { type: 'model', id, name: id },
      project_id: null,
    }));
  }

  private async webhooks({ projectId, isAdmin }: Viewer): Promise<Problem[]> {
    const rows = await this.database.query<{
      id: string;
      name: string;
      project_id: string;
      reason: string | null;
      since: Date;
    }>(
      `SELECT id, name, project_id, disabled_reason AS reason, COALESCE(disabled_at, failing_since) AS since
       FROM webhook_endpoint WHERE ${visible('webhook_endpoint')}
         AND (disabled_reason IS NOT NULL OR (disabled_at IS NULL AND failing_since IS NOT NULL))
       ORDER BY since DESC LIMIT ${MOST}`,
      [projectId, isAdmin],
    );
    return rows.map(({ id, name, project_id, reason, since }) => ({
      code: reason === null ? 'webhook_failing' : 'webhook_disabled',
      severity: reason === null ? 'warning' : 'error',
      title:
        reason === null
          ? `Deliveries to webhook ${name} fail`
          : `Webhook ${name} is disabled: ${inTitle(reason)}`,
      action:
        reason === null
          ? 'See the last response of the endpoint; Graft keeps trying'
          : 'Fix the endpoint, then enable the webhook',
      since: unix(since),
      subject: { type: 'webhook', id, name },
      project_id,
    }));
  }

  private async trackers({ projectId, isAdmin }: Viewer): Promise<Problem[]> {
    const rows = await this.database.query<{
      type: IntegrationType;
      project_id: string;
      error: string | null;
      since: Date;
    }>(
      `SELECT type, project_id, last_error AS error, failing_since AS since FROM integration
       WHERE failing_since IS NOT NULL AND ${visible('integration')} LIMIT ${MOST}`,
      [projectId, isAdmin],
    );
    return rows.map(({ type, project_id, error, since }) => ({
      code: 'tracker_failing',
      severity: 'warning',
      title: `Runs do not reach ${type}${error ? `: ${inTitle(error)}` : ''}`,
      action: 'Check the address and the key of the tracker; Graft keeps trying',
      since: unix(since),
      subject: { type: 'integration', id: type, name: type },
      project_id,
    }));
  }
}
