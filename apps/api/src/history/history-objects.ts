import {
  EVAL_SCORE,
  type CheckpointObject,
  type JobEventObject,
  type JobSampleObject,
} from '@graft/contracts';
import type { Job, JobEvent } from '../database/entities/job.js';
import { eventId, unix } from '../ids.js';
import type { MeasuredCheckpoint } from './checkpoints.repository.js';
import { finite } from './job-object.js';
import { openAiValues, valueOf } from './metric-values.js';

export function eventObject(event: JobEvent): JobEventObject {
  return {
    object: 'fine_tuning.job.event',
    id: eventId(event.job_id, event.number),
    created_at: unix(event.created_at),
    level: event.level,
    message: event.message,
    type: event.type === 'metrics' ? 'metrics' : 'message',
    data: event.data,
    graft: { kind: event.kind },
  };
}

/** Completion of a sample prompt as stored in the event of a step, in the order of the prompts. */
export type StoredSample = Omit<JobSampleObject['data'][number], 'prompt'>;

export function sampleObject(
  { job_id, number, created_at, data }: JobEvent,
  { spec: { sample_prompts: prompts = [] } }: Job,
): JobSampleObject {
  const { step, samples } = data as { step: number; samples: readonly StoredSample[] };
  return {
    object: 'fine_tuning.job.sample',
    id: eventId(job_id, number),
    created_at: unix(created_at),
    step_number: step,
    data: samples.map((sample, i) => ({ prompt: prompts[i] ?? '', ...sample })),
  };
}

/** Loss ledger as stored in its event, highest loss first. */
export interface StoredLedger {
  readonly step: number;
  readonly examples: number;
  readonly mean_loss: number | null;
  readonly rows: readonly (readonly [line: number, loss: number | null, baseLoss: number | null])[];
}

/** Name of a job's fine-tuned model: `ft:{base}:{org}:{suffix or empty}:{8 chars}`. */
export function fineTunedName(job: Pick<Job, 'id' | 'base_id' | 'project_id' | 'suffix'>): string {
  const base = job.base_id.replace(/^.*\//, '').replaceAll(':', '-');
  return `ft:${base}:${job.project_id.replace(/^proj-/, '')}:${job.suffix ?? ''}:${job.id.slice(-8)}`;
}

export const checkpointName = (job: Job, step: number): string =>
  `${fineTunedName(job)}:ckpt-step-${step}`;

/** @param best whether it is the best of the stored checkpoints */
export function checkpointObject(
  checkpoint: MeasuredCheckpoint,
  job: Job,
  best: boolean,
): CheckpointObject {
  const { step, adapter } = checkpoint;
  const { task } = job.spec;
  const valid = checkpoint.full ? ['valid', 'full_valid'] : ['valid'];
  const measured = {
    ...openAiValues(task, 'train', checkpoint.trained ?? {}),
    ...scoreOf(checkpoint),
    ...Object.assign({}, ...valid.map((name) => openAiValues(task, name, checkpoint.valid ?? {}))),
  };
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
        Object.entries(measured).filter((entry): entry is [string, number] => entry[1] !== null),
      ),
    },
    graft: {
      usable: adapter.length > 0,
      bytes: adapter.reduce((sum, file) => sum + file.size, 0),
      best,
    },
  };
}

function scoreOf({ valid }: MeasuredCheckpoint): Record<string, number | null> {
  const score = finite(valueOf(valid ?? {}, EVAL_SCORE));
  return score === null ? {} : { [EVAL_SCORE]: score };
}

/**
 * The checkpoint that retention keeps as the best one: the highest eval score (the earlier of two equal
 * ones) or, without scores, the lowest value of `metric` (the later of two equal ones).
 */
export function bestCheckpoint(
  newestFirst: readonly MeasuredCheckpoint[],
  metric: string,
): MeasuredCheckpoint | null {
  const scores = newestFirst.map(({ valid }) => valueOf(valid ?? {}, EVAL_SCORE));
  const isScored = scores.some(Number.isFinite);
  // Lower is better.
  const rankOf = (one: MeasuredCheckpoint, i: number): number =>
    isScored
      ? -(finite(scores[i] ?? null) ?? -Infinity)
      : (finite(valueOf(one.valid ?? {}, metric)) ?? Infinity);
  let [best, least]: [MeasuredCheckpoint | null, number] = [null, Infinity];
  for (const [i, one] of newestFirst.entries()) {
    const rank = rankOf(one, i);
    // the earliest of equal scores, the latest of equal losses
    if (rank < least || (isScored && rank === least)) [best, least] = [one, rank];
  }
  return best;
}
