import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.js';
import { Job, type Checkpoint } from '../database/entities/job.js';
import { checkpointName } from './history-objects.js';

/** A checkpoint with what was measured at its very step: null where nothing was. */
export interface MeasuredCheckpoint extends Checkpoint {
  readonly train_loss: number | null;
  readonly train_accuracy: number | null;
  readonly valid_loss: number | null;
  readonly valid_accuracy: number | null;
  /** Whether the whole validation file was measured. */
  readonly full: boolean | null;
}

export interface NamedCheckpoint {
  readonly job: Job;
  readonly checkpoint: MeasuredCheckpoint;
}

/** What the attempt that saved `checkpoint`, or else one before it, measured at the same step. */
const measuredIn = (table: 'metric' | 'evaluation'): string =>
  `LATERAL (SELECT measured.* FROM attempt JOIN ${table} AS measured USING (job_id, epoch)
     WHERE attempt.job_id = checkpoint.job_id AND attempt.epoch <= checkpoint.epoch
       AND measured.step = checkpoint.step ORDER BY attempt.epoch DESC LIMIT 1)`;

/** Reads of checkpoints. */
@Injectable()
export class CheckpointsRepository {
  constructor(private readonly database: Database) {}

  /** Newest first. A step saved again after a resume is there once, as the newest attempt saved it. */
  list(jobId: string): Promise<MeasuredCheckpoint[]> {
    return this.database.query<MeasuredCheckpoint>(
      `SELECT DISTINCT ON (checkpoint.step) checkpoint.*, trained.loss AS train_loss,
         trained.accuracy AS train_accuracy, valid.loss AS valid_loss, valid.accuracy AS valid_accuracy, valid."full"
       FROM checkpoint LEFT JOIN ${measuredIn('metric')} AS trained ON true
         LEFT JOIN ${measuredIn('evaluation')} AS valid ON true
       WHERE checkpoint.job_id = $1 ORDER BY checkpoint.step DESC, checkpoint.epoch DESC`,
      [jobId],
    );
  }

  /** The one that a model's name (`ft:…:ckpt-step-N`) stands for. */
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
