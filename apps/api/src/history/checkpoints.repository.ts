import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { Job, type Checkpoint, type StoredValues } from '../database/entities/job.js';
import { checkpointName } from './history-objects.js';

/** A checkpoint with the metrics of its step; null where nothing was measured. */
export interface MeasuredCheckpoint extends Checkpoint {
  readonly trained: StoredValues | null;
  readonly valid: StoredValues | null;
  readonly valid_loss: number | null;
  /** Whether the whole validation data was evaluated. */
  readonly full: boolean | null;
}

export interface NamedCheckpoint {
  readonly job: Job;
  readonly checkpoint: MeasuredCheckpoint;
}

/**
 * Id of the eval run whose settings score the job's checkpoints, each in place of the run's model; null if
 * there is none.
 */
export const evalOf = ({ request }: Pick<Job, 'request'>): string | null =>
  (request['graft'] as { readonly eval?: string } | null | undefined)?.eval ?? null;

/** Metric that determines the best checkpoint if no eval scores them. Lower is better. */
export const bestBy = ({ request }: Pick<Job, 'request'>): string =>
  (request['graft'] as { readonly metric_for_best_model?: string } | null | undefined)
    ?.metric_for_best_model ?? 'loss';

/**
 * SQL: metrics of the checkpoint's step, from the attempt that saved the checkpoint or the latest one
 * before it.
 */
const measuredIn = (table: 'metric' | 'evaluation'): string =>
  `LATERAL (SELECT measured.* FROM attempt JOIN ${table} AS measured
       ON measured.job_id = attempt.job_id AND measured.attempt = attempt.number
     WHERE attempt.job_id = checkpoint.job_id AND attempt.number <= checkpoint.attempt
       AND measured.step = checkpoint.step ORDER BY attempt.number DESC LIMIT 1)`;

@Injectable()
export class CheckpointsRepository {
  constructor(private readonly database: Database) {}

  /**
   * Newest first. A step that was saved again after a resume is listed once, as saved by the newest
   * attempt.
   */
  list(jobId: string): Promise<MeasuredCheckpoint[]> {
    return this.database.query<MeasuredCheckpoint>(
      `SELECT DISTINCT ON (checkpoint.step) checkpoint.*, trained."values" AS trained,
         valid."values" AS valid, (valid."values"->>'loss')::float8 AS valid_loss, valid."full"
       FROM checkpoint LEFT JOIN ${measuredIn('metric')} AS trained ON true
         LEFT JOIN ${measuredIn('evaluation')} AS valid ON true
       WHERE checkpoint.job_id = $1 AND damaged_at IS NULL ORDER BY checkpoint.step DESC, checkpoint.attempt DESC`,
      [jobId],
    );
  }

  /** Finds the checkpoint that a model name (`ft:…:ckpt-step-N`) refers to. */
  async named(projectId: string, name: string): Promise<NamedCheckpoint | null> {
    const [, tail, step] = /([0-9A-Za-z]{8}):ckpt-step-(\d{1,9})$/.exec(name) ?? [];
    if (tail === undefined) return null;
    const jobs = await this.database.manager
      .getRepository(Job)
      .createQueryBuilder('job')
      .where('job.project_id = :projectId AND right(job.id, 8) = :tail', { projectId, tail })
      .getMany();
    const job = jobs.find((candidate) => checkpointName(candidate, Number(step)) === name);
    const checkpoint =
      job && (await this.list(job.id)).find((candidate) => candidate.step === Number(step));
    return checkpoint ? { job, checkpoint } : null;
  }
}
