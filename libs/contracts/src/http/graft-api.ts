// Responses of Graft's own endpoints.
import { DataReport } from '../files/data-report.js';
import { TrainingOptions } from '../jobs/training-options.js';
import { ROLES } from '../organization/scopes.js';

import { z } from 'zod';

export const MemoryForecast = z
  .object({
    base_bytes: z
      .number()
      .describe(
        "Size of the base model's weights with the job's `base_dtype` and `quantization`. Jobs with the same base and settings share one copy.",
      ),
    run_bytes: z
      .number()
      .describe(
        'Maximum memory of the run in addition to the base: trainable parameters, activations and data, as if every example had the size of the largest.',
      ),
    process_bytes: z
      .number()
      .describe('Memory that a worker reserves for a process with this base and only this run.'),
    gradient_checkpointing_spares_bytes: z
      .number()
      .describe('Memory that `graft.gradient_checkpointing` would save; 0 if it is enabled.'),
  })
  .meta({ id: 'MemoryForecast', description: 'Forecast of a job’s memory on a worker, in bytes.' });
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
      .describe('PEFT config with all defaults filled in; null for full fine-tuning.'),
    graft: z.object(TrainingOptions.partial().shape).readonly(),
    examples: z.number(),
    steps: z
      .number()
      .describe(
        'Optimizer steps of the whole run. `tokens` is the number of tokens they process, estimated if the data report is sampled.',
      ),
    tokens: z.number(),
    seconds: z
      .number()
      .nullable()
      .describe(
        'Training time in seconds, estimated from earlier jobs or a benchmark (`estimate_source`); null if neither is known.',
      ),
    seconds_range: z
      .tuple([z.number(), z.number()])
      .readonly()
      .nullable()
      .describe('Shortest and longest training time to expect, in seconds.'),
    estimate_source: z
      .enum(['history', 'benchmark'])
      .nullable()
      .describe(
        '`history`: `seconds` follows from jobs on the same base; `benchmark`: it is a rough estimate from the speed of matrix products that workers of the pool measured at their start.',
      ),
    seconds_from: z.string().nullable().describe('Source of the time estimate, as text.'),
    queue_position: z
      .number()
      .nullable()
      .describe(
        'Position that the job would have in its pool, from 1. `estimated_start` is the start to expect; both have the meaning they have for a queued job.',
      ),
    queue_length: z.number().nullable(),
    estimated_start: z.number().nullable(),
    estimated_start_range: z.tuple([z.number(), z.number()]).readonly().nullable(),
    trainable_parameters: z.number().nullable(),
    total_parameters: z.number().nullable(),
    linear_modules: z
      .array(z.string())
      .readonly()
      .nullable()
      .describe(
        "Names of the base model's linear layers, which `peft.target_modules` can list; null if unknown.",
      ),
    memory: MemoryForecast.nullable().describe(
      'Memory forecast; null if it could not be computed.',
    ),
    training: DataReport,
    validation: DataReport.nullable(),
    warnings: z.array(z.string()).readonly().describe('Warnings, one sentence each.'),
  })
  .meta({
    id: 'JobPreviewObject',
    description:
      'Preview of a job: the plan of a create request with every "auto" resolved. No job is created.',
  });
export type JobPreviewObject = z.infer<typeof JobPreviewObject>;

export const FileRecordObject = z
  .object({
    line: z.number(),
    record: z
      .record(z.string(), z.unknown())
      .readonly()
      .nullable()
      .describe('Parsed record; null if the line cannot be used.'),
    problem: z
      .string()
      .nullable()
      .describe('Reason why the line cannot be used, with its beginning; null if it can.'),
    text: z.string().nullable(),
  })
  .meta({
    id: 'FileRecordObject',
    description: 'Non-blank line of a training file.',
  });
export type FileRecordObject = z.infer<typeof FileRecordObject>;

export const WorkerObject = z
  .object({
    object: z.literal('graft.worker'),
    id: z.string(),
    name: z.string(),
    pool: z.string(),
    state: z.enum(['online', 'draining', 'offline']),
    cordoned: z
      .boolean()
      .describe('Whether the worker is cordoned: it starts no new jobs or chats.'),
    cordon_reason: z
      .string()
      .nullable()
      .describe('Reason why Graft cordoned the worker; null if it did not.'),
    connected_at: z.number(),
    last_seen_at: z.number(),
    silent_seconds: z
      .number()
      .nullable()
      .describe(
        "Seconds since the last heartbeat by the database's clock; null if shorter than two heartbeat intervals.",
      ),
    slots: z.number(),
    free_slots: z.number(),
    devices: z.array(z.string()).readonly(),
    memory_bytes: z.number(),
    rss_bytes: z.number().nullable(),
    resident_bases: z.array(z.string()).readonly(),
    libtorch: z.string(),
    speed: z
      .object({
        bf16_flops: z.number(),
        f32_flops: z.number(),
        bytes_per_second: z.number().describe('Bytes of weights read per second.'),
      })
      .nullable()
      .describe(
        'Speed of matrix products that the worker measured at its start, in floating-point operations per second; null if it did not.',
      ),
    schema_version: z
      .number()
      .describe(
        "Highest version of jobs and requests that the worker accepts, at most the API's own version.",
      ),
    jobs: z.array(z.object({ id: z.string(), attempt: z.number(), step: z.number() })).readonly(),
  })
  .meta({ id: 'WorkerObject', description: 'Worker.' });
export type WorkerObject = z.infer<typeof WorkerObject>;

export const GatewayObject = z
  .object({
    url: z
      .string()
      .describe(
        "URL of the gateway: grpc://HOST:PORT, or grpcs://HOST:PORT with TLS. HOST is the certificate's name, else the address it listens on, else the host name.",
      ),
    tls: z.boolean(),
    listens_beyond_host: z
      .boolean()
      .describe('Whether workers on other hosts can reach the gateway.'),
  })
  .meta({ id: 'GatewayObject', description: 'Gateway that workers connect to.' });
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
  .meta({ id: 'OverviewObject', description: 'Overview of jobs and workers.' });
export type OverviewObject = z.infer<typeof OverviewObject>;

export const Measured = z
  .object({ step: z.number(), loss: z.number().nullable() })
  .catchall(z.number().nullable())
  .meta({
    id: 'Measured',
    description: 'Metrics of a step or an evaluation by name; null if not finite.',
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
        "Values per step: the task's metrics by their names in the catalog, and tokens_per_second; null if not finite.",
      ),
    tokens: z
      .array(z.number())
      .readonly()
      .describe(
        'Tokens trained by the end of each of `steps`. If steps are omitted, their tokens count for the next step listed.',
      ),
    seconds: z
      .array(z.number())
      .readonly()
      .describe('Training time in seconds by the end of each of `steps`, counted like `tokens`.'),
    peak_rss_bytes: z
      .number()
      .nullable()
      .describe(
        'Peak memory in bytes of the trainer process at any of `steps`, including other jobs in it; null before the first step.',
      ),
    evaluations: z.array(Measured).readonly(),
    marks: z
      .array(z.object({ step: z.number(), kind: z.enum(['attempt', 'checkpoint']) }))
      .readonly()
      .describe('Steps at which a new attempt started, and saved checkpoints.'),
  })
  .meta({
    id: 'MetricsObject',
    description:
      'Metrics of a job as columns of equal length. Each step is that of the newest attempt.',
  });
export type MetricsObject = z.infer<typeof MetricsObject>;

export const StreamKind = z.enum(['job', 'event', 'metrics', 'reset', 'ready']).meta({
  id: 'StreamKind',
  description:
    "Kind (`event:`) of a server-sent event. The `data:` of GET /v1/fine_tuning/jobs/{id}/stream is a JobObject for `job` (status, phase or progress changed), a JobEventObject for `event`, and Measured for `metrics` (a step, with tokens_per_second). `reset` has the data {} and means that the ID is beyond the last event, as after a database restore; all events are sent again. The `id:` is the job's event number; send it as Last-Event-ID to resume. GET /v1/stream sends `ready` with the data {} and an ID to resume from, then `job` events of the whole project.",
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
      'Member that owns the key; null for keys of the project or of the installation.',
    ),
    secret: z.exactOptional(z.string()),
  })
  .meta({
    id: 'ApiKeyObject',
    description: 'API key. `secret` is returned only when the key is created.',
  });
export type ApiKeyObject = z.infer<typeof ApiKeyObject>;

export const OwnKeyObject = ApiKeyObject.extend({
  project: z.object({ id: z.string(), name: z.string() }),
}).meta({
  id: 'OwnKeyObject',
  description:
    "API key of the caller, with its project. Scopes are limited by the role of the key's member.",
});
export type OwnKeyObject = z.infer<typeof OwnKeyObject>;

export const JoinTokenObject = z
  .object({
    object: z.literal('graft.join_token'),
    id: z.string(),
    name: z.string(),
    pool: z
      .string()
      .nullable()
      .describe('Only pool that the token grants access to; null: any pool.'),
    created_at: z.number(),
    expires_at: z.number().nullable(),
    secret: z.exactOptional(z.string()),
  })
  .meta({
    id: 'JoinTokenObject',
    description:
      'Token with which workers join. `secret` is returned only when the token is created.',
  });
export type JoinTokenObject = z.infer<typeof JoinTokenObject>;

export const ProjectLimits = z
  .object({
    storage_bytes: z
      .exactOptional(z.number())
      .describe('Maximum bytes stored: files, checkpoints, results and eval items.'),
    running_jobs: z.exactOptional(z.number()),
    queued_jobs: z.exactOptional(z.number()),
    tokens_per_day: z
      .exactOptional(z.number())
      .describe('Maximum tokens trained and generated per day (UTC).'),
    chats: z
      .exactOptional(z.number())
      .describe('Maximum concurrent chat, completion and inference requests.'),
    eval_runs: z
      .exactOptional(z.number())
      .describe('Maximum unfinished eval runs, not counting runs on checkpoints.'),
    priority: z
      .exactOptional(z.number())
      .describe(
        'Lowest number, i.e. highest priority, that `graft.priority` may have; absent: 100, or 1 for the first project.',
      ),
  })
  .meta({
    id: 'ProjectLimits',
    description: 'Limits of a project. Absent fields are unlimited, except `priority`.',
  });
export type ProjectLimits = z.infer<typeof ProjectLimits>;

export const LimitsObject = z
  .object({
    object: z.literal('graft.limits'),
    project_id: z.string(),
    weight: z.number().describe("Weight of the project when projects compete for a pool's slots."),
    highest_priority: z
      .number()
      .describe('Lowest `graft.priority` that jobs of the project may have.'),
    data: z
      .array(
        z.object({
          name: ProjectLimits.keyof(),
          limit: z.number().nullable().describe('Limit; null: unlimited.'),
          used: z.number(),
          resets_at: z.exactOptional(z.number()).describe('Time at which the usage is reset to 0.'),
        }),
      )
      .readonly(),
  })
  .meta({
    id: 'LimitsObject',
    description: "Limits and usage of the caller's project.",
  });
export type LimitsObject = z.infer<typeof LimitsObject>;
