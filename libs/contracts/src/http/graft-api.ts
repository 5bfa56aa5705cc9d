// Answers of Graft's own endpoints, beside OpenAI's.
import { DataReport } from '../files/data-report.js';
import { TrainingOptions } from '../jobs/training-options.js';
import { ROLES } from '../organization/scopes.js';

import { z } from 'zod';

export const MemoryForecast = z
  .object({
    base_bytes: z
      .number()
      .describe(
        "The base's weights as the job holds them, in `base_dtype` and `quantization`; jobs that hold a base alike share one.",
      ),
    run_bytes: z
      .number()
      .describe(
        'What the run takes beside them at most, as if every example were as large as the largest: what trains, activations, and data.',
      ),
    process_bytes: z
      .number()
      .describe('What a worker sets aside for a process with this base and this run alone.'),
    gradient_checkpointing_spares_bytes: z
      .number()
      .describe(
        'How much less that would be with `graft.gradient_checkpointing`; 0 where it is set.',
      ),
  })
  .meta({ id: 'MemoryForecast', description: 'What a job takes of a worker’s memory.' });
export type MemoryForecast = z.infer<typeof MemoryForecast>;

export const JobPreviewObject = z
  .object({
    object: z.literal('graft.job_preview'),
    model: z.string(),
    hyperparameters: z.object({
      batch_size: z.number(),
      n_epochs: z.number(),
      learning_rate_multiplier: z.union([z.number(), z.literal('auto')]),
    }),
    peft: z
      .record(z.string(), z.unknown())
      .readonly()
      .nullable()
      .describe("PEFT's config and Graft's options, resolved."),
    graft: z.object(TrainingOptions.partial().shape).readonly(),
    examples: z.number(),
    steps: z
      .number()
      .describe(
        'Optimiser steps in all, and tokens that they see in all (estimated where the data report is sampled).',
      ),
    tokens: z.number(),
    seconds: z
      .number()
      .nullable()
      .describe(
        'Seconds of training, from measured speeds; null where nothing like it has run yet.',
      ),
    seconds_from: z.string().nullable().describe('What the time is taken from, in words.'),
    queue_position: z
      .number()
      .nullable()
      .describe(
        'Where it would stand among the jobs of its pool, and when it would start, as of a job that waits.',
      ),
    queue_length: z.number().nullable(),
    estimated_start: z.number().nullable(),
    estimated_start_range: z.tuple([z.number(), z.number()]).readonly().nullable(),
    trainable_parameters: z.number().nullable(),
    total_parameters: z.number().nullable(),
    memory: MemoryForecast.nullable().describe('null where it could not be told.'),
    training: DataReport,
    validation: DataReport.nullable(),
    warnings: z.array(z.string()).readonly().describe('A sentence each, for people.'),
  })
  .meta({
    id: 'JobPreviewObject',
    description:
      'POST /v1/fine_tuning/jobs/preview: what a create call would do, with every "auto" resolved. Creates nothing.',
  });
export type JobPreviewObject = z.infer<typeof JobPreviewObject>;

export const FileRecordObject = z
  .object({
    line: z.number(),
    record: z
      .record(z.string(), z.unknown())
      .readonly()
      .nullable()
      .describe('null where it cannot be used.'),
    problem: z.string().nullable().describe('Why it cannot be used, and how it begins.'),
    text: z.string().nullable(),
  })
  .meta({
    id: 'FileRecordObject',
    description: 'GET /v1/files/{id}/records: a line of a training file that is not blank.',
  });
export type FileRecordObject = z.infer<typeof FileRecordObject>;

export const WorkerObject = z
  .object({
    object: z.literal('graft.worker'),
    id: z.string(),
    name: z.string(),
    pool: z.string(),
    state: z.enum(['online', 'draining', 'offline']),
    cordoned: z.boolean().describe('Nothing new is started on it.'),
    cordon_reason: z.string().nullable().describe('Where Graft cordoned it by itself: why.'),
    connected_at: z.number(),
    last_seen_at: z.number(),
    slots: z.number(),
    free_slots: z.number(),
    devices: z.array(z.string()).readonly(),
    memory_bytes: z.number(),
    rss_bytes: z.number().nullable(),
    resident_bases: z.array(z.string()).readonly(),
    libtorch: z.string(),
    schema_version: z
      .number()
      .describe("It takes jobs and requests of up to this version, at most the API's own."),
    jobs: z.array(z.object({ id: z.string(), attempt: z.number(), step: z.number() })).readonly(),
  })
  .meta({ id: 'WorkerObject', description: 'GET /v1/workers' });
export type WorkerObject = z.infer<typeof WorkerObject>;

export const GatewayObject = z
  .object({
    url: z
      .string()
      .describe(
        "grpc://HOST:PORT, or grpcs:// with TLS: for workers elsewhere, or for those on the API's own host where it listens there only. HOST is the certificate's name, else the address it listens on, else the host's name.",
      ),
    tls: z.boolean(),
    listens_beyond_host: z.boolean().describe('Whether workers on other hosts reach it at all.'),
  })
  .meta({ id: 'GatewayObject', description: 'Where workers join.' });
export type GatewayObject = z.infer<typeof GatewayObject>;

export const OverviewObject = z
  .object({
    object: z.literal('graft.overview'),
    version: z.string(),
    queue_backend: z.enum(['redis', 'postgres']),
    jobs: z.record(z.string(), z.number()).readonly(),
    failed_24h: z.number(),
    workers_online: z.number(),
    slots: z.number(),
    slots_busy: z.number(),
    gateway: GatewayObject,
  })
  .meta({ id: 'OverviewObject', description: 'GET /v1/overview: the status strip.' });
export type OverviewObject = z.infer<typeof OverviewObject>;

export const Measured = z
  .object({ step: z.number(), loss: z.number().nullable() })
  .catchall(z.number().nullable())
  .meta({
    id: 'Measured',
    description: 'Numbers of a step or an evaluation by name; null where not finite.',
  });
export type Measured = z.infer<typeof Measured>;

export const MetricsObject = z
  .object({
    object: z.literal('graft.metrics'),
    steps: z.array(z.number()).readonly(),
    series: z
      .record(z.string(), z.array(z.number().nullable()).readonly())
      .readonly()
      .describe(
        "By the names that the catalogue gives the task's numbers, and tokens_per_second; null where not finite.",
      ),
    tokens: z
      .array(z.number())
      .readonly()
      .describe(
        'Trained on by the end of each of `steps`; where not every step is here, those between two count as the later one.',
      ),
    seconds: z.array(z.number()).readonly().describe('Of training by then, counted so, too.'),
    peak_rss_bytes: z
      .number()
      .nullable()
      .describe(
        'Most memory that its process had at one of `steps`, with what else ran in it; null before the first.',
      ),
    evaluations: z.array(Measured).readonly(),
    marks: z
      .array(z.object({ step: z.number(), kind: z.enum(['attempt', 'checkpoint']) }))
      .readonly()
      .describe('Steps at which another attempt took over, and saved checkpoints.'),
  })
  .meta({
    id: 'MetricsObject',
    description:
      'GET /v1/fine_tuning/jobs/{id}/metrics: columns of equal length, newest attempt per step.',
  });
export type MetricsObject = z.infer<typeof MetricsObject>;

export const StreamKind = z.enum(['job', 'event', 'metrics', 'reset', 'ready']).meta({
  id: 'StreamKind',
  description:
    "Data of the SSE events on GET /v1/fine_tuning/jobs/{id}/stream (`event:` is the kind; `id:` is the job's event number, accepted back as Last-Event-ID). job     → JobObject (state, phase or progress changed) event   → JobEventObject metrics → Measured: a step as it was measured, with tokens_per_second reset   → {}: the id is beyond the last event (a restored database); everything comes again GET /v1/stream carries `job` events of the whole project, after a first `ready` → {} with an id to come back with.",
});
export type StreamKind = z.infer<typeof StreamKind>;

export const MemberName = z
  .object({ id: z.string(), name: z.string(), role: z.enum(ROLES) })
  .meta({ id: 'MemberName' });
export type MemberName = z.infer<typeof MemberName>;

export const ApiKeyObject = z
  .object({
    object: z.literal('graft.api_key'),
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.string()).readonly(),
    created_at: z.number(),
    last_used_at: z.number().nullable(),
    expires_at: z.number().nullable(),
    member: MemberName.nullable().describe(
      "Whose it is; null: the project's own, or the installation's.",
    ),
    secret: z.exactOptional(z.string()),
  })
  .meta({
    id: 'ApiKeyObject',
    description: 'GET /v1/keys and POST /v1/keys (the secret is shown once).',
  });
export type ApiKeyObject = z.infer<typeof ApiKeyObject>;

export const OwnKeyObject = ApiKeyObject.extend({
  project: z.object({ id: z.string(), name: z.string() }),
}).meta({
  id: 'OwnKeyObject',
  description:
    "GET /v1/keys/me: what the caller may do, and where. Scopes are those that its member's role leaves it.",
});
export type OwnKeyObject = z.infer<typeof OwnKeyObject>;

export const JoinTokenObject = z
  .object({
    object: z.literal('graft.join_token'),
    id: z.string(),
    name: z.string(),
    pool: z.string().nullable().describe('The only pool it opens; null: any.'),
    created_at: z.number(),
    expires_at: z.number().nullable(),
    secret: z.exactOptional(z.string()),
  })
  .meta({
    id: 'JoinTokenObject',
    description: 'What lets a worker join; `secret` only when it is made.',
  });
export type JoinTokenObject = z.infer<typeof JoinTokenObject>;

export const ProjectLimits = z
  .object({
    storage_bytes: z
      .exactOptional(z.number())
      .describe('Files, checkpoints, results and items of evals.'),
    running_jobs: z.exactOptional(z.number()),
    queued_jobs: z.exactOptional(z.number()),
    tokens_per_day: z
      .exactOptional(z.number())
      .describe('Trained and generated, by the day in UTC.'),
    chats: z.exactOptional(z.number()).describe('Answers in progress.'),
    eval_runs: z
      .exactOptional(z.number())
      .describe('Runs of evals that are not over, but for those of checkpoints.'),
    priority: z
      .exactOptional(z.number())
      .describe(
        'The highest priority, that is the lowest number, that its jobs may have; absent: 100, the default, and of the first project 1.',
      ),
  })
  .meta({
    id: 'ProjectLimits',
    description:
      'What a project may have at once; what is absent is not limited, but for `priority`.',
  });
export type ProjectLimits = z.infer<typeof ProjectLimits>;

export const LimitsObject = z
  .object({
    object: z.literal('graft.limits'),
    project_id: z.string(),
    weight: z.number().describe("Its share of a pool's slots beside other projects' that wait."),
    highest_priority: z.number().describe('The lowest `graft.priority` that its jobs may have.'),
    data: z
      .array(
        z.object({
          name: ProjectLimits.keyof(),
          limit: z.number().nullable().describe('null: not limited.'),
          used: z.number(),
          resets_at: z.exactOptional(z.number()).describe('When what is used counts from 0 again.'),
        }),
      )
      .readonly(),
  })
  .meta({
    id: 'LimitsObject',
    description: "GET /v1/limits: what the caller's project may have, and has.",
  });
export type LimitsObject = z.infer<typeof LimitsObject>;
