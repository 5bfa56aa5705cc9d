// Experiment trackers: the `integrations` of a create request, and their objects in the API.
import { z } from 'zod';
import { INTEGRATION_TYPES } from './integration-names.js';

export * from './integration-names.js';

const name = (what: string) => z.string().trim().min(1).max(128).describe(what);
const Tags = z.array(z.string().trim().min(1).max(64)).max(50);

/** OpenAI's fields. */
const JobWandb = z.strictObject({
  project: name('W&B project of the run'),
  name: name('Name of the run. Default: the suffix of the job, or its ID').nullish(),
  entity: name("W&B team or user. Default: the API key's").nullish(),
  tags: Tags.nullish(),
});

const JobMlflow = z.strictObject({
  experiment: name('MLflow experiment of the run; it is created if it does not exist'),
  name: name('Name of the run. Default: the suffix of the job, or its ID').nullish(),
  tags: z.record(z.string().min(1).max(250), z.string().max(5000)).nullish(),
});

const JobIntegration = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('wandb'), wandb: JobWandb }),
  z.strictObject({ type: z.literal('mlflow'), mlflow: JobMlflow }),
]);
export type JobIntegration = z.infer<typeof JobIntegration>;

/** `integrations` of a create request. */
export const JobIntegrations = z
  .array(JobIntegration)
  .superRefine((list, context) => {
    const types = list.map(({ type }) => type);
    const twice = types.findIndex((type, n) => types.indexOf(type) < n);
    if (twice < 0) return;
    const message = `names ${types[twice]} twice; a job supports one run of each type`;
    context.addIssue({ code: 'custom', path: [twice], message });
  })
  .describe('Trackers that log the job. Default: the trackers that are configured for all jobs');

/** Run of a job in a tracker. */
const Sent = z
  .object({
    status: z
      .enum(['open', 'done', 'failed'])
      .describe(
        'Status of the run: `open` while data are still being sent, `done` when all were sent, `failed` if the tracker rejected them (see `error`).',
      ),
    url: z.string().nullable().describe('URL of the run; null until it exists.'),
    error: z
      .string()
      .nullable()
      .describe('Reason why the last attempt failed; null if it succeeded.'),
  })
  .meta({ id: 'IntegrationRun' });

export const JobIntegrationObject = z
  .discriminatedUnion('type', [
    z.object({
      type: z.literal('wandb'),
      wandb: z
        .object({
          project: z.string(),
          name: z.string().nullable(),
          entity: z.string().nullable(),
          tags: z.array(z.string()).readonly(),
        })
        .meta({ id: 'WandbRun' }),
      graft: Sent,
    }),
    z.object({
      type: z.literal('mlflow'),
      mlflow: z
        .object({
          experiment: z.string(),
          name: z.string().nullable(),
          tags: z.record(z.string(), z.string()).readonly(),
        })
        .meta({ id: 'MlflowRun' }),
      graft: Sent,
    }),
  ])
  .meta({ id: 'JobIntegrationObject', description: 'Tracker that logs a job.' });
export type JobIntegrationObject = z.infer<typeof JobIntegrationObject>;

export const IntegrationObject = z
  .object({
    object: z.literal('integration'),
    id: z.enum(INTEGRATION_TYPES),
    type: z.enum(INTEGRATION_TYPES),
    url: z.string(),
    username: z.string().nullable(),
    project: z
      .string()
      .describe('Default W&B project or MLflow experiment, for jobs that do not specify one.'),
    entity: z.string().nullable(),
    every_job: z.boolean().describe('Whether jobs without `integrations` are logged, too.'),
    failing_since: z
      .number()
      .nullable()
      .describe(
        'Time since which every attempt has failed, in Unix seconds; null if the last one succeeded.',
      ),
    last_error: z.string().nullable(),
    last_sent_at: z.number().nullable(),
    created_at: z.number(),
  })
  .meta({
    id: 'IntegrationObject',
    description: 'Tracker that a project has configured. Its API key is never returned.',
  });
export type IntegrationObject = z.infer<typeof IntegrationObject>;
