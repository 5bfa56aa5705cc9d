import type { CheckpointObject, JobEventObject } from '@graft/contracts';
import type { Job, JobEvent } from '../database/entities/job.js';
import { eventId, unix } from '../ids.js';
import type { MeasuredCheckpoint } from './checkpoints.repository.js';
import { finite } from './job-object.js';

export function eventObject(event: JobEvent): JobEventObject {
  // `curve` is the live chart's form of the same numbers.
  const { curve: _curve, ...data } = event.data ?? {};
  return {
    object: 'fine_tuning.job.event',
    id: eventId(event.job_id, event.number),
    created_at: unix(event.created_at),
    level: event.level,
    message: event.message,
    type: event.type === 'metrics' ? 'metrics' : 'message',
    data: event.data ? data : null,
  };
}

/** Name of what a job makes: `ft:{base}:{org}:{suffix or empty}:{8 chars}`. */
export function fineTunedName(job: Pick<Job, 'id' | 'base_id' | 'project_id' | 'suffix'>): string {
  const base = job.base_id.replace(/^.*\//, '').replaceAll(':', '-');
  return `ft:${base}:${job.project_id.replace(/^proj-/, '')}:${job.suffix ?? ''}:${job.id.slice(-8)}`;
}

export const checkpointName = (job: Job, step: number): string =>
  `${fineTunedName(job)}:ckpt-step-${step}`;

/** @param best whether it is the one with the lowest validation loss of those that are kept */
export function checkpointObject(
  checkpoint: MeasuredCheckpoint,
  job: Job,
  best: boolean,
): CheckpointObject {
  const { step, adapter } = checkpoint;
  const valid = checkpoint.full ? ['valid', 'full_valid'] : ['valid'];
  const measured: [string, number | null][] = [
    ['train_loss', checkpoint.train_loss],
    ['train_mean_token_accuracy', checkpoint.train_accuracy],
    ...valid.flatMap((name): [string, number | null][] => [
      [`${name}_loss`, checkpoint.valid_loss],
      [`${name}_mean_token_accuracy`, checkpoint.valid_accuracy],
    ]),
  ];
  return {
    object: 'fine_tuning.job.checkpoint',
    id: checkpoint.id,
    created_at: unix(checkpoint.created_at),
    fine_tuning_job_id: checkpoint.job_id,
    fine_tuned_model_checkpoint: checkpointName(job, step),
    step_number: step,
    metrics: {
      step,
      ...Object.fromEntries(
        measured.filter((entry): entry is [string, number] => finite(entry[1]) !== null),
      ),
    },
    graft: {
      usable: adapter.length > 0,
      bytes: adapter.reduce((sum, file) => sum + file.size, 0),
      best,
    },
  };
}

/** The one that retention keeps as the best: the lowest validation loss at its own step, the later of two equal ones. */
export function bestCheckpoint(
  newestFirst: readonly MeasuredCheckpoint[],
): MeasuredCheckpoint | null {
  const lossOf = (one: MeasuredCheckpoint): number => finite(one.valid_loss) ?? Infinity;
  return newestFirst.reduce<MeasuredCheckpoint | null>(
    (best, one) => (lossOf(one) < (best ? lossOf(best) : Infinity) ? one : best),
    null,
  );
}
