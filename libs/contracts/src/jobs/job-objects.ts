/** Fine-tuning jobs and their checkpoints, as the API answers them. Times are unix seconds. */
import { z } from 'zod';
import { OperationObject } from './adapter-operation.js';
import { FINE_TUNING_METHODS } from './create-job.js';
import { DataReport } from '../files/data-report.js';
import { JobIntegrationObject } from '../integrations/integrations.js';
import { JOB_STATUSES } from './job-status.js';
import { SampleOptions } from './sample-prompts.js';
import { TrainingOptions } from './training-options.js';

export const JobStatus = z.enum(JOB_STATUSES).meta({
  id: 'JobStatus',
  description:
    "OpenAI's `validating_files` is not among them: files are checked when they are uploaded, and for the base in the request that creates the job, so that a job begins in `queued`.",
});
export type JobStatus = z.infer<typeof JobStatus>;

export const JobWarning = z
  .object({
    code: z.string().describe('`loss_at_chance`, `zero_gradient`, `overfitting`, …'),
    message: z.string(),
    step: z.number().nullable(),
  })
  .meta({
    id: 'JobWarning',
    description:
      'Something about a run that its owner should know, such as divergence; also an event of level warn.',
  });
export type JobWarning = z.infer<typeof JobWarning>;

export const JobBest = z
  .object({
    step: z.number(),
    valid_loss: z.number(),
    accuracy: z.exactOptional(z.number()).describe('Of tasks with one label for each input.'),
    majority_accuracy: z
      .exactOptional(z.number())
      .describe('The accuracy of always answering the most frequent label of the same examples.'),
  })
  .meta({
    id: 'JobBest',
    description:
      'The lowest validation loss so far and its step: of samples and of the whole file alike, the earliest of equal ones.',
  });
export type JobBest = z.infer<typeof JobBest>;

export const JobScore = z.object({ step: z.number(), eval_score: z.number() }).meta({
  id: 'JobScore',
  description: "The best score that the job's eval gave a checkpoint, the earliest of equal ones.",
});
export type JobScore = z.infer<typeof JobScore>;

export const JobForgetting = z
  .object({
    loss: z.number().describe('With what was trained,'),
    base_loss: z.number().describe('and of the base alone.'),
  })
  .meta({
    id: 'JobForgetting',
    description: 'The loss of a fixed text that no job trains on, measured at the end.',
  });
export type JobForgetting = z.infer<typeof JobForgetting>;

export const JobError = z
  .object({ code: z.string(), message: z.string(), param: z.string().nullable() })
  .meta({ id: 'JobError' });
export type JobError = z.infer<typeof JobError>;

export const JobAttempt = z
  .object({
    number: z.number(),
    worker: z.string().nullable(),
    started_at: z.number().nullable(),
    ended_at: z.number().nullable(),
    outcome: z
      .string()
      .nullable()
      .describe('null while it runs, else done, cancelled, drained or an exit class.'),
    from_step: z.number(),
  })
  .meta({ id: 'JobAttempt' });
export type JobAttempt = z.infer<typeof JobAttempt>;

export const JobGraft = z
  .object({
    ...TrainingOptions.partial().shape,
    init_adapter: z.exactOptional(z.string()),
    eval: z.exactOptional(z.string()),
    load_best_model_at_end: z.exactOptional(z.boolean()),
    metric_for_best_model: z.exactOptional(z.string()),
    measure_forgetting: z.exactOptional(z.boolean()),
    loss_ledger: z.exactOptional(z.boolean()),
    loss_ledger_epochs: z.exactOptional(z.array(z.int()).readonly()),
    sample_prompts: z.exactOptional(SampleOptions.shape.sample_prompts.unwrap()),
    sample_max_tokens: z.exactOptional(z.int()),
    operation: OperationObject.nullable().describe(
      'What the job makes of adapters instead of training, and of which; null where it trains.',
    ),
    phase: z
      .object({ code: z.string(), message: z.string() })
      .describe('What the job waits for or does: a code and one sentence.'),
    progress: z.object({
      step: z.number(),
      total_steps: z.number().nullable(),
      tokens_per_second: z.number().nullable(),
      eta_seconds: z.number().nullable(),
    }),
    attempts: z.array(JobAttempt).readonly(),
    started_at: z.number().nullable(),
    pool: z.string(),
    priority: z.number(),
    queue_position: z
      .number()
      .nullable()
      .describe(
        'Of a job that waits: its place, 1 is the next, and how many wait in its pool; null where it may not start.',
      ),
    queue_length: z.number().nullable(),
    estimated_start: z
      .number()
      .nullable()
      .describe(
        'When it will start, and the earliest and latest; null where nothing like the jobs before it has run yet.',
      ),
    estimated_start_range: z.tuple([z.number(), z.number()]).readonly().nullable(),
    trainable_parameters: z.number().nullable(),
    total_parameters: z.number().nullable(),
    train_loss: z.number().nullable(),
    valid_loss: z.number().nullable(),
    sparkline: z
      .array(z.number())
      .readonly()
      .describe('At most 60 losses over the whole run, for a sparkline.'),
    data: DataReport.nullable().describe(
      'What the training file is for this base; null where it was not looked at.',
    ),
    best: JobBest.nullable().describe('The lowest validation loss so far and its step.'),
    published_step: z
      .number()
      .nullable()
      .describe('The step whose weights its model holds; null while it has none.'),
    best_score: JobScore.nullable().describe('Null where no checkpoint has a score.'),
    training_seconds: z
      .number()
      .describe(
        "Seconds in which attempts trained (from their first step's beginning to their end); waiting is not in it. Of an operation on adapters, seconds in which a worker had it.",
      ),
    worker_silent_seconds: z
      .number()
      .nullable()
      .describe(
        "Of a running job: seconds since its worker was last heard, by the database's clock; null under two heartbeats.",
      ),
    process: z
      .string()
      .nullable()
      .describe('Name of the trainer process that it trains in; null while it does not.'),
    shares_with: z
      .object({ jobs: z.array(z.string()).readonly(), others: z.number() })
      .nullable()
      .describe(
        'The other jobs in that process: those of the same project by id, those of others counted.',
      ),
    alone: z
      .boolean()
      .describe(
        'Whether its next attempt has a process for itself: it may have been what ended two of them.',
      ),
    waited_seconds: z
      .number()
      .describe(
        'Seconds, over all attempts, in which the process worked for others while the job waited.',
      ),
    warnings: z.array(JobWarning).readonly().describe('Each code once, over all attempts.'),
    name: z
      .string()
      .nullable()
      .describe('What it was renamed to; null: it goes by `user_provided_suffix`.'),
    tags: z.array(z.string()).readonly(),
    note: z.string().nullable(),
    archived: z.boolean().describe('Whether lists leave it out unless they are asked.'),
    restorable_until: z
      .number()
      .nullable()
      .describe('Of a deleted job: until when it can be restored; null of all others.'),
    forgetting: JobForgetting.nullable().describe(
      'Where `measure_forgetting` asks for it, once it is done.',
    ),
    sweep: z
      .object({ id: z.string(), trial: z.number() })
      .nullable()
      .describe('The sweep that it is a trial of.'),
  })
  .meta({
    id: 'JobGraft',
    description:
      "Fields of Graft's own on a job, the request's `graft` with every default among them.",
  });
export type JobGraft = z.infer<typeof JobGraft>;

export const JobHyperparameters = z
  .object({
    batch_size: z.union([z.number(), z.literal('auto')]),
    learning_rate_multiplier: z.union([z.number(), z.literal('auto')]),
    n_epochs: z.union([z.number(), z.literal('auto')]),
  })
  .meta({ id: 'JobHyperparameters' });
export type JobHyperparameters = z.infer<typeof JobHyperparameters>;

export const JobMethod = z
  .object({
    type: z.enum(FINE_TUNING_METHODS),
    supervised: z.exactOptional(z.object({ hyperparameters: JobHyperparameters })),
    dpo: z.exactOptional(
      z.object({ hyperparameters: JobHyperparameters.extend({ beta: z.number() }) }),
    ),
  })
  .meta({
    id: 'JobMethod',
    description: "OpenAI's method of fine-tuning, with its hyperparameters under its name.",
  });
export type JobMethod = z.infer<typeof JobMethod>;

export const JobObject = z
  .object({
    object: z.literal('fine_tuning.job'),
    id: z.string(),
    created_at: z.number(),
    finished_at: z.number().nullable(),
    model: z.string(),
    fine_tuned_model: z.string().nullable(),
    organization_id: z.string(),
    status: JobStatus,
    hyperparameters: JobHyperparameters.nullable().describe(
      'Null unless the method is supervised; `method` has them always.',
    ),
    method: JobMethod,
    training_file: z.string().nullable().describe('Null of an operation on adapters.'),
    validation_file: z.string().nullable(),
    result_files: z.array(z.string()).readonly(),
    trained_tokens: z.number().nullable(),
    error: JobError.nullable(),
    seed: z.number(),
    estimated_finish: z.number().nullable(),
    integrations: z.array(JobIntegrationObject).readonly().nullable(),
    metadata: z.record(z.string(), z.string()).readonly().nullable(),
    user_provided_suffix: z.string().nullable(),
    peft: z.record(z.string(), z.unknown()).readonly().nullable(),
    graft: JobGraft,
  })
  .meta({ id: 'JobObject' });
export type JobObject = z.infer<typeof JobObject>;

export const DeletedJobObject = z
  .object({
    id: z.string(),
    object: z.literal('fine_tuning.job'),
    deleted: z.literal(true),
    graft: z.object({ restorable_until: z.number() }),
  })
  .meta({
    id: 'DeletedJobObject',
    description: 'A job that was deleted with its results; until then it can be restored.',
  });
export type DeletedJobObject = z.infer<typeof DeletedJobObject>;

export const CheckpointObject = z
  .object({
    object: z.literal('fine_tuning.job.checkpoint'),
    id: z.string(),
    created_at: z.number(),
    fine_tuning_job_id: z.string(),
    fine_tuned_model_checkpoint: z.string(),
    step_number: z.number(),
    metrics: z.record(z.string(), z.number()).readonly(),
    graft: z.object({
      usable: z
        .boolean()
        .describe(
          'Whether it holds an adapter to use and to download; not after full fine-tuning.',
        ),
      bytes: z.number().describe('Of the adapter.'),
      best: z
        .boolean()
        .describe(
          "Whether it is the one with the best score of the job's eval, or else the lowest validation loss (or `metric_for_best_model`), measured at its own step, of those that are kept.",
        ),
    }),
  })
  .meta({ id: 'CheckpointObject' });
export type CheckpointObject = z.infer<typeof CheckpointObject>;
