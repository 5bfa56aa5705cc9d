import type { CheckpointObject, JobEventObject } from '@graft/contracts';
import type { Checkpoint, Job, JobEvent } from '../database/entities/job.js';
import { eventId, unix } from '../ids.js';

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

export function checkpointObject(checkpoint: Checkpoint, job: Job): CheckpointObject {
  return {
    object: 'fine_tuning.job.checkpoint',
    id: checkpoint.id,
    created_at: unix(checkpoint.created_at),
    fine_tuning_job_id: checkpoint.job_id,
    fine_tuned_model_checkpoint: checkpointName(job, checkpoint.step),
    step_number: checkpoint.step,
    metrics: { step: checkpoint.step, ...checkpoint.metrics },
  };
}
