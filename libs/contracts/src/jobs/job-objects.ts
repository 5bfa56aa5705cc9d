// Fine-tuning jobs and checkpoints, as the API returns them. Times are Unix seconds.
import { z } from 'zod';
import { OperationObject } from './adapter-operation.js';
import { FINE_TUNING_METHODS } from './requests/create-job.js';
import { DataReport } from '../files/data-report.js';
import { JobIntegrationObject } from '../integrations/integrations.js';
import { JOB_STATUSES } from './job-status.js';
import { SampleOptions } from './sample-prompts.js';
import { TrainingOptions } from './training-options.js';

export const JobStatus = z.enum(JOB_STATUSES).meta({
  id: 'JobStatus',
  description:
    "Status of a job. OpenAI's `validating_files` is not used: files are checked on upload, and against the base model by the create request, so that a job starts as `queued`.",
});
export type JobStatus = z.infer<typeof JobStatus>;

export const JobWarning = z
  .object({
    code: z
      .string()
      .describe('Kind of the warning: `loss_at_chance`, `zero_gradient`, `overfitting`, …'),
    message: z.string(),
    step: z.number().nullable(),
  })
  .meta({
    id: 'JobWarning',
    description: 'Warning about a run, such as divergence. It is also an event of level `warn`.',
  });
export type JobWarning = z.infer<typeof JobWarning>;

export const JobBest = z
  .object({
    step: z.number(),
    valid_loss: z.number(),
    accuracy: z
      .exactOptional(z.number())
      .describe('Accuracy; only for tasks with one label per input.'),
    majority_accuracy: z
      .exactOptional(z.number())
      .describe('Accuracy of always predicting the most frequent label of the same examples.'),
  })
  .meta({
    id: 'JobBest',
    description:
      'Lowest validation loss so far and its step. Evaluations on a sample count as much as those on all validation data; the earliest wins a tie.',
  });
export type JobBest = z.infer<typeof JobBest>;

export const JobScore = z.object({ step: z.number(), eval_score: z.number() }).meta({
  id: 'JobScore',
  description: "Best score of a checkpoint in the job's eval; the earliest wins a tie.",
});
export type JobScore = z.infer<typeof JobScore>;

export const JobForgetting = z
  .object({
    loss: z.number().describe('Loss with the trained weights.'),
    base_loss: z.number().describe('Loss of the base model alone.'),
  })
  .meta({
    id: 'JobForgetting',
    description: 'Loss of fixed texts that no job trains on, measured at the end.',
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
      .describe(
        'Null while the attempt runs; then `done`, `cancelled`, `drained` or an exit class.',
      ),
    reason: z
      .string()
      .nullable()
      .describe('Why the attempt ended, in words; null if `outcome` says it all'),
    from_step: z.number(),
    to_step: z
      .number()
      .nullable()
      .describe('Last step that the attempt reported; null while it runs'),
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
      'Operation that the job runs on adapters instead of training; null if it trains.',
    ),
    phase: z
      .object({ code: z.string(), message: z.string() })
      .describe('What the job is doing or waiting for, as a code and a sentence.'),
    progress: z
      .object({
        step: z.number(),
        total_steps: z.number().nullable(),
        tokens_per_second: z.number().nullable(),
        eta_seconds: z.number().nullable(),
      })
      .describe('Last step, number of steps, speed and remaining time'),
    attempts: z
      .array(JobAttempt)
      .readonly()
      .describe('Attempts, oldest first, each with its worker, times, outcome and first step'),
    started_at: z
      .number()
      .nullable()
      .describe('Time of the first assignment to a worker; null before'),
    pool: z.string().describe('Worker pool of the job'),
    priority: z.number().describe('Priority; lower numbers start first'),
    queue_position: z
      .number()
      .nullable()
      .describe(
        'Position of a queued job in its pool, from 1; null if the job cannot start. `queue_length` is the number of queued jobs in the pool.',
      ),
    queue_length: z.number().nullable().describe('Number of queued jobs in the pool'),
    estimated_start: z
      .number()
      .nullable()
      .describe(
        'Expected start in Unix seconds, with the earliest and latest start in `estimated_start_range`; null until jobs similar to those ahead of it have run.',
      ),
    estimated_start_range: z
      .tuple([z.number(), z.number()])
      .readonly()
      .nullable()
      .describe('Earliest and latest expected start, in Unix seconds'),
    trainable_parameters: z
      .number()
      .nullable()
      .describe('Number of trainable parameters; null until the run has started'),
    total_parameters: z
      .number()
      .nullable()
      .describe('Number of parameters of base model and adapter; null until the run has started'),
    train_loss: z.number().nullable().describe('Training loss of the last step'),
    valid_loss: z.number().nullable().describe('Validation loss of the last evaluation'),
    sparkline: z
      .array(z.number())
      .readonly()
      .describe('Up to 60 training losses over the whole run, for a sparkline.'),
    data: DataReport.nullable().describe(
      'Report on the training file for this base model; null if the file was not analyzed.',
    ),
    best: JobBest.nullable().describe('Lowest validation loss so far and its step.'),
    published_step: z
      .number()
      .nullable()
      .describe('Step whose weights the fine-tuned model holds; null until there is a model.'),
    best_score: JobScore.nullable().describe(
      'Best eval score of a checkpoint; null if no checkpoint has a score.',
    ),
    training_seconds: z
      .number()
      .describe(
        'Training time in seconds, summed over all attempts from the start of the first step; waiting is excluded. For an operation on adapters, the time that it was assigned to a worker.',
      ),
    worker_silent_seconds: z
      .number()
      .nullable()
      .describe(
        "For a running job, seconds since its worker's last heartbeat by the database's clock; null if shorter than two heartbeat intervals.",
      ),
    process: z
      .string()
      .nullable()
      .describe('Name of the trainer process that runs the job; null while it does not run.'),
    shares_with: z
      .object({ jobs: z.array(z.string()).readonly(), others: z.number() })
      .nullable()
      .describe(
        'Other jobs in the same process: the IDs of jobs of the same project, and the number of jobs of other projects.',
      ),
    alone: z
      .boolean()
      .describe(
        'Whether the next attempt gets a process of its own, because the job may have crashed two shared processes.',
      ),
    waited_seconds: z
      .number()
      .describe(
        'Seconds, over all attempts, that the job waited while its process worked on other jobs.',
      ),
    warnings: z.array(JobWarning).readonly().describe('Warnings of all attempts, one per code.'),
    name: z
      .string()
      .describe(
        'Display name: given by users, or `user_provided_suffix`, or file, method and a number such as `tickets-lora-1`. A trial has the name of its sweep and what differs. The name of the resulting model does not depend on it.',
      ),
    tags: z.array(z.string()).readonly().describe('Tags that users gave the job'),
    note: z.string().nullable().describe('Note that users gave the job'),
    archived: z.boolean().describe('Whether lists omit the job by default.'),
    restorable_until: z
      .number()
      .nullable()
      .describe('Time until which a deleted job can be restored; null for other jobs.'),
    forgetting: JobForgetting.nullable().describe(
      'Result of `measure_forgetting`, once measured; otherwise null.',
    ),
    sweep: z
      .object({ id: z.string(), trial: z.number() })
      .nullable()
      .describe('Sweep that the job is a trial of; null for other jobs.'),
  })
  .meta({
    id: 'JobGraft',
    description:
      "Graft's own fields of a job, including the request's `graft` with all defaults filled in.",
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
    description: "OpenAI's fine-tuning method, with its hyperparameters under its name.",
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
    hyperparameters: JobHyperparameters.describe(
      'Hyperparameters that all methods have; `method` has all of them.',
    ),
    method: JobMethod,
    training_file: z.string().nullable().describe('Null for an operation on adapters.'),
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
    description: 'Deleted job. It can be restored with its results until `restorable_until`.',
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
          'Whether the checkpoint holds an adapter to use and download; false for full fine-tuning.',
        ),
      bytes: z.number().describe('Size of the adapter in bytes.'),
      best: z
        .boolean()
        .describe(
          "Whether this is the best stored checkpoint: the one with the best score in the job's eval or, without an eval, the lowest validation loss (or `metric_for_best_model`) at its own step.",
        ),
    }),
  })
  .meta({ id: 'CheckpointObject' });
export type CheckpointObject = z.infer<typeof CheckpointObject>;
