// Experiment trackers that jobs are written to: what a job says of them, and what the API shows.
import { z } from 'zod';
import { INTEGRATION_TYPES } from './integration-names.js';

export * from './integration-names.js';

const name = (what: string) => z.string().trim().min(1).max(128).describe(what);
const Tags = z.array(z.string().trim().min(1).max(64)).max(50);

/** OpenAI's. */
const JobWandb = z.strictObject({
  project: name('W&B project of the run'),
  name: name('Name of the run; absent: the suffix, else the id of the job').nullish(),
  entity: name('W&B team or user; absent: the one of the API key').nullish(),
  tags: Tags.nullish(),
});

const JobMlflow = z.strictObject({
  experiment: name('MLflow experiment of the run, which is made where there is none'),
  name: name('Name of the run; absent: the suffix, else the id of the job').nullish(),
  tags: z.record(z.string().min(1).max(250), z.string().max(5000)).nullish(),
});

const JobIntegration = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('wandb'), wandb: JobWandb }),
  z.strictObject({ type: z.literal('mlflow'), mlflow: JobMlflow }),
]);
export type JobIntegration = z.infer<typeof JobIntegration>;

/** `integrations` of a create call. */
export const JobIntegrations = z
  .array(JobIntegration)
  .superRefine((list, context) => {
    const types = list.map(({ type }) => type);
    const twice = types.findIndex((type, n) => types.indexOf(type) < n);
    if (twice < 0) return;
    const message = `names ${types[twice]} again; a job has one run of each type`;
    context.addIssue({ code: 'custom', path: [twice], message });
  })
  .describe('Trackers that the job is written to; absent: those that are set up for every job');

/** Where a job's run is. */
const Sent = z
  .object({
    status: z
      .enum(['open', 'done', 'failed'])
      .describe('`open`: what is not there yet follows; `failed`: it was refused, see `error`.'),
    url: z.string().nullable().describe('The run; null until it is made.'),
    error: z.string().nullable().describe('Why the last try failed.'),
  })
  .meta({ id: 'IntegrationRun' });

export const JobIntegrationObject = z
  .discriminatedUnion('type', [
    z.object({
      type: z.literal('wandb'),
      wandb: z.object({
        project: z.string(),
        name: z.string().nullable(),
        entity: z.string().nullable(),
        tags: z.array(z.string()).readonly(),
      }),
      graft: Sent,
    }),
    z.object({
      type: z.literal('mlflow'),
      mlflow: z.object({
        experiment: z.string(),
        name: z.string().nullable(),
        tags: z.record(z.string(), z.string()).readonly(),
      }),
      graft: Sent,
    }),
  ])
  .meta({ id: 'JobIntegrationObject', description: 'A tracker that a job is written to.' });
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
      .describe('W&B project, or MLflow experiment, of jobs that are written without naming one.'),
    entity: z.string().nullable(),
    every_job: z.boolean().describe('Whether jobs that name no integrations are written, too.'),
    failing_since: z.number().nullable().describe('Unix seconds; null: the last try went well.'),
    last_error: z.string().nullable(),
    last_sent_at: z.number().nullable(),
    created_at: z.number(),
  })
  .meta({
    id: 'IntegrationObject',
    description: 'A tracker as a project has set it up; its key is never shown.',
  });
export type IntegrationObject = z.infer<typeof IntegrationObject>;
