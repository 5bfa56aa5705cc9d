// Hyperparameter sweeps: the body of POST /v1/sweeps and its responses.
import { z } from 'zod';
import { Seed } from '../jobs/training-options.js';
import { CreateJob } from '../jobs/requests/create-job.js';
import { JobBest, JobError, JobForgetting, JobStatus, JobWarning } from '../jobs/job-objects.js';

export const MOST_TRIALS = 100;
const MOST_RUNGS = 8;
const MOST_PARAMETERS = 24;
const LONGEST_PATH = 200;

/** Path of a field, such as `peft.r`. */
const FIELD_PATH = /^[a-z]\w*(\.[a-z]\w*)*$/;

export const SweepRange = z
  .strictObject({
    min: z.number(),
    max: z.number(),
    log: z
      .boolean()
      .optional()
      .describe('Whether to sample on a logarithmic scale; requires min above 0'),
    integer: z.boolean().optional().describe('Whether to sample integers only'),
  })
  .superRefine(({ min, max, log, integer }, context) => {
    const refuse = (field: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [field], message });
    if (min >= max) refuse('max', `must be greater than min, ${min}; got ${max}`);
    else if (log && min <= 0) refuse('min', `must be greater than 0 if log is true, got ${min}`);
    else if (integer)
      for (const [field, value] of Object.entries({ min, max }))
        if (!Number.isInteger(value)) refuse(field, `must be an integer, got ${value}`);
  });
export type SweepRange = z.infer<typeof SweepRange>;

export const SweepParameter = z.union([z.array(z.unknown()).min(1).max(MOST_TRIALS), SweepRange]);
export type SweepParameter = z.infer<typeof SweepParameter>;

/** Metric that ranks trials: the validation loss, or the score of the job's eval (`graft.eval`). */
export const SweepMetric = z.enum(['valid_loss', 'eval_score']);
export type SweepMetric = z.infer<typeof SweepMetric>;

export const SweepSearch = z
  .strictObject({
    algorithm: z
      .enum(['grid', 'random', 'asha'])
      .describe(
        'grid: all combinations of values; random: a random sample of them; asha: like random, but weak trials stop early at a rung',
      ),
    preset: z
      .enum(['methods'])
      .optional()
      .describe('methods: try several methods, each with its own defaults, as values of `peft`'),
    parameters: z
      .record(z.string().max(LONGEST_PATH).regex(FIELD_PATH), SweepParameter)
      .optional()
      .describe(
        'Values of each parameter: the path of a job field, such as `peft.r`, with a list of values or a range',
      ),
    max_trials: z
      .int()
      .min(1)
      .max(MOST_TRIALS)
      .optional()
      .describe(
        'Maximum number of trials, up to 100. Default: all combinations for grid, otherwise 16',
      ),
    seed: Seed.optional().describe('Seed that selects the trials. Default: 42'),
    metric: SweepMetric.optional().describe(
      'Metric that ranks trials: the validation loss (default), or the score of graft.eval',
    ),
    reduction_factor: z
      .int()
      .min(2)
      .max(10)
      .optional()
      .describe(
        'asha only: one in this many trials continues after each rung, from 2 to 10. Default: 3',
      ),
    rungs: z
      .array(z.int().min(1))
      .min(1)
      .max(MOST_RUNGS)
      .optional()
      .describe(
        'asha only: steps at which trials are compared, ascending. Default: evaluations near a ninth and a third of the shortest trial',
      ),
  })
  .superRefine((search, context) => {
    const refuse = (field: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [field], message });
    const { algorithm, parameters = {}, preset, rungs = [] } = search;
    const named = Object.keys(parameters).length;
    if (preset === undefined && named === 0)
      refuse('parameters', 'must name at least one field, or set search.preset');
    if (named > MOST_PARAMETERS)
      refuse('parameters', `must name at most ${MOST_PARAMETERS} fields, got ${named}`);
    for (const field of ['reduction_factor', 'rungs'] as const)
      if (algorithm !== 'asha' && search[field] !== undefined)
        refuse(field, `requires search.algorithm asha, but search.algorithm is ${algorithm}`);
    if (rungs.some((step, n) => n > 0 && step <= Number(rungs[n - 1])))
      refuse('rungs', `must be steps in ascending order, got ${rungs.join(', ')}`);
  });
export type SweepSearch = z.infer<typeof SweepSearch>;

/** Body of POST /v1/sweeps: that of a job, and the search that derives its trials. */
export const CreateSweep = CreateJob.extend({ search: SweepSearch });
export type CreateSweep = z.infer<typeof CreateSweep>;

export const SweepStatus = z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']).meta({
  id: 'SweepStatus',
  description: 'Status of a sweep. `succeeded`: all trials have ended, and at least one succeeded.',
});
export type SweepStatus = z.infer<typeof SweepStatus>;

export const TrialRung = z
  .object({
    step: z.number(),
    score: z.number().nullable().describe('Score of the trial at this step; null if not finite.'),
    kept: z.boolean().describe('Whether the trial continued after the rung.'),
  })
  .meta({ id: 'TrialRung', description: 'Step at which a trial was compared with others.' });
export type TrialRung = z.infer<typeof TrialRung>;

export const TrialObject = z
  .object({
    number: z.number().describe('Number of the trial in the sweep, from 1.'),
    job: z.string().describe('Job of the trial'),
    name: z.string().describe('Display name of the job'),
    options: z
      .record(z.string(), z.unknown())
      .readonly()
      .describe("Values of the sweep's parameters in this trial, by path."),
    status: JobStatus,
    step: z.number(),
    total_steps: z.number().nullable(),
    ended_at_step: z
      .number()
      .nullable()
      .describe(
        'Rung at which the trial was stopped early, with status `succeeded`; null if it was not.',
      ),
    score: z
      .number()
      .nullable()
      .describe("Latest value of the sweep's metric; for a finished trial, that of its model."),
    best: JobBest.nullable().describe('Lowest validation loss of the trial, and its step.'),
    rungs: z.array(TrialRung).readonly().describe('Rungs that the trial has reached'),
    forgetting: JobForgetting.nullable().describe('Result of `measure_forgetting`'),
    training_seconds: z.number().describe('Training time in seconds'),
    memory_bytes: z
      .number()
      .nullable()
      .describe(
        'Device memory of the run in bytes, without the base model; null before it started.',
      ),
    trainable_parameters: z.number().nullable().describe('Number of trainable parameters'),
    model: z.string().nullable().describe('ID of the fine-tuned model; null until there is one.'),
    model_bytes: z.number().nullable().describe('Size of the model in bytes'),
    error: JobError.nullable(),
  })
  .meta({ id: 'TrialObject' });
export type TrialObject = z.infer<typeof TrialObject>;

export const SweepObject = z
  .object({
    object: z.literal('graft.sweep'),
    id: z.string(),
    name: z
      .string()
      .describe('Display name: `suffix`, or file, `methods` or `sweep`, and a number.'),
    created_at: z.number(),
    model: z.string(),
    status: SweepStatus,
    search: z
      .object({
        algorithm: SweepSearch.shape.algorithm,
        preset: z.enum(['methods']).nullable(),
        parameters: z.record(z.string(), z.unknown()).readonly(),
        seed: z.number(),
        metric: SweepMetric,
        reduction_factor: z.number().nullable(),
        rungs: z.array(z.number()).readonly(),
      })
      .describe('Search settings, with all defaults filled in.'),
    training_file: z.string(),
    metadata: z.record(z.string(), z.string()).readonly().nullable(),
    suffix: z.string().nullable(),
    trial_counts: z
      .record(
        z.enum(['total', 'queued', 'running', 'succeeded', 'failed', 'cancelled']),
        z.number(),
      )
      .readonly()
      .describe('Number of trials in total and by status; paused trials count as queued.'),
    ended_early: z
      .number()
      .describe('Number of succeeded trials that were stopped early at a rung.'),
    winner: z
      .object({ trial: z.number(), job: z.string(), score: z.number(), model: z.string() })
      .nullable()
      .describe('Best finished trial so far; null if none has a score.'),
    warnings: z
      .exactOptional(z.array(JobWarning).readonly())
      .describe('Reasons why trials cannot start. Absent in lists.'),
    trials: z
      .exactOptional(z.array(TrialObject).readonly())
      .describe('Trials of the sweep. Absent in lists.'),
  })
  .meta({
    id: 'SweepObject',
    description: 'Hyperparameter sweep: several jobs that differ in some of their fields.',
  });
export type SweepObject = z.infer<typeof SweepObject>;
