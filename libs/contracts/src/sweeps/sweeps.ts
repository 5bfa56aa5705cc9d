// Several jobs that differ in some of their fields: the body of POST /v1/sweeps, and what is answered.
import { z } from 'zod';
import { Seed } from '../jobs/training-options.js';
import { CreateJob } from '../jobs/create-job.js';
import { JobBest, JobError, JobForgetting, JobStatus, JobWarning } from '../jobs/job-objects.js';

export const MOST_TRIALS = 100;
const MOST_RUNGS = 8;
const MOST_PARAMETERS = 24;
const LONGEST_PATH = 200;

/** Names of fields, one within the other: `peft.r`. */
const FIELD_PATH = /^[a-z]\w*(\.[a-z]\w*)*$/;

export const SweepRange = z
  .strictObject({
    min: z.number(),
    max: z.number(),
    log: z.boolean().optional().describe('Each order of magnitude as likely as the next'),
    integer: z.boolean().optional().describe('Whole numbers alone'),
  })
  .superRefine(({ min, max, log, integer }, context) => {
    const refuse = (field: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [field], message });
    if (min >= max) refuse('max', `must be greater than min, ${min}; got ${max}`);
    else if (log && min <= 0) refuse('min', `must be greater than 0 where log is true, got ${min}`);
    else if (integer)
      for (const [field, value] of Object.entries({ min, max }))
        if (!Number.isInteger(value)) refuse(field, `must be an integer, got ${value}`);
  });
export type SweepRange = z.infer<typeof SweepRange>;

export const SweepParameter = z.union([z.array(z.unknown()).min(1).max(MOST_TRIALS), SweepRange]);
export type SweepParameter = z.infer<typeof SweepParameter>;

/** What trials are compared by: the validation loss, or the score of the job's eval (`graft.eval`). */
export const SweepMetric = z.enum(['valid_loss', 'eval_score']);
export type SweepMetric = z.infer<typeof SweepMetric>;

export const SweepSearch = z
  .strictObject({
    algorithm: z
      .enum(['grid', 'random', 'asha'])
      .describe(
        'grid: every combination of values; random: some of them; asha: as random, and trials that are behind at a rung end there',
      ),
    preset: z
      .enum(['methods'])
      .optional()
      .describe('methods: a handful of methods, each with its own defaults, as values of `peft`'),
    parameters: z
      .record(z.string().max(LONGEST_PATH).regex(FIELD_PATH), SweepParameter)
      .optional()
      .describe('By the path of a field of the job, a list of its values, or a range'),
    max_trials: z
      .int()
      .min(1)
      .max(MOST_TRIALS)
      .optional()
      .describe('Default: all of a grid, else 16, or fewer where there are no more combinations'),
    seed: Seed.optional().describe('Of what is drawn. Default: 42'),
    metric: SweepMetric.optional().describe(
      'What trials are compared by: the validation loss (the default), or the score of graft.eval',
    ),
    reduction_factor: z
      .int()
      .min(2)
      .max(10)
      .optional()
      .describe('Of asha: of those that reach a rung one in so many goes on. Default: 3'),
    rungs: z
      .array(z.int().min(1))
      .min(1)
      .max(MOST_RUNGS)
      .optional()
      .describe(
        'Of asha: steps at which trials are compared. Default: a ninth and a third of the shortest trial, or so, at which trials are measured',
      ),
  })
  .superRefine((search, context) => {
    const refuse = (field: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [field], message });
    const { algorithm, parameters = {}, preset, rungs = [] } = search;
    const named = Object.keys(parameters).length;
    if (preset === undefined && named === 0)
      refuse('parameters', 'must name a field at least, or give search.preset');
    if (named > MOST_PARAMETERS)
      refuse('parameters', `must name at most ${MOST_PARAMETERS} fields, got ${named}`);
    for (const field of ['reduction_factor', 'rungs'] as const)
      if (algorithm !== 'asha' && search[field] !== undefined)
        refuse(field, `goes with search.algorithm asha, but search.algorithm is ${algorithm}`);
    if (rungs.some((step, n) => n > 0 && step <= Number(rungs[n - 1])))
      refuse('rungs', `must be steps in ascending order, got ${rungs.join(', ')}`);
  });
export type SweepSearch = z.infer<typeof SweepSearch>;

/** A create call's body: a job's, and how its trials are made of it. */
export const CreateSweep = CreateJob.extend({ search: SweepSearch });
export type CreateSweep = z.infer<typeof CreateSweep>;

export const SweepStatus = z
  .enum(['queued', 'running', 'succeeded', 'failed', 'cancelled'])
  .meta({ id: 'SweepStatus', description: 'succeeded: it is over, and a trial at least did.' });
export type SweepStatus = z.infer<typeof SweepStatus>;

export const TrialRung = z
  .object({
    step: z.number(),
    score: z.number().nullable().describe('Null: it was no finite number.'),
    kept: z.boolean().describe('Whether it went on from there.'),
  })
  .meta({ id: 'TrialRung', description: 'A step at which a trial was compared with others.' });
export type TrialRung = z.infer<typeof TrialRung>;

export const TrialObject = z
  .object({
    number: z.number().describe('Counted from 1.'),
    job: z.string(),
    options: z
      .record(z.string(), z.unknown())
      .readonly()
      .describe("What it has of the sweep's parameters, by path."),
    status: JobStatus,
    step: z.number(),
    total_steps: z.number().nullable(),
    ended_at_step: z
      .number()
      .nullable()
      .describe('Of one that succeeded: the rung at which it was ended early; null: at none.'),
    score: z
      .number()
      .nullable()
      .describe("The sweep's metric, as last measured: of a trial that is done, of its model."),
    best: JobBest.nullable().describe('Its lowest validation loss, and the step.'),
    rungs: z.array(TrialRung).readonly(),
    forgetting: JobForgetting.nullable(),
    training_seconds: z.number(),
    memory_bytes: z
      .number()
      .nullable()
      .describe('What its run took of the device beside the base; null before it began.'),
    trainable_parameters: z.number().nullable(),
    model: z.string().nullable().describe('Its fine-tuned model.'),
    model_bytes: z.number().nullable(),
    error: JobError.nullable(),
  })
  .meta({ id: 'TrialObject' });
export type TrialObject = z.infer<typeof TrialObject>;

export const SweepObject = z
  .object({
    object: z.literal('graft.sweep'),
    id: z.string(),
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
      .describe('Resolved: with every default.'),
    training_file: z.string(),
    metadata: z.record(z.string(), z.string()).readonly().nullable(),
    suffix: z.string().nullable(),
    trial_counts: z
      .record(
        z.enum(['total', 'queued', 'running', 'succeeded', 'failed', 'cancelled']),
        z.number(),
      )
      .readonly()
      .describe('Paused trials count as queued.'),
    ended_early: z.number().describe('Of those that succeeded: ended at a rung.'),
    winner: z
      .object({ trial: z.number(), job: z.string(), score: z.number(), model: z.string() })
      .nullable()
      .describe('The best of the trials that are done, so far.'),
    warnings: z
      .exactOptional(z.array(JobWarning).readonly())
      .describe('What keeps its trials from starting. Not in lists.'),
    trials: z.exactOptional(z.array(TrialObject).readonly()).describe('Not in lists.'),
  })
  .meta({ id: 'SweepObject', description: 'Several jobs that differ in some of their fields.' });
export type SweepObject = z.infer<typeof SweepObject>;
