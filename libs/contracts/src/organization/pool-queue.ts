// Queue of a pool with its forecast, and what an action would change in it.
import { z } from 'zod';

const Range = z.tuple([z.number(), z.number()]).readonly();

const JobInPool = z.object({
  id: z
    .string()
    .nullable()
    .describe('Null for a job of another project; the other fields of the job are then null, too.'),
  name: z.string().nullable().describe('Display name of the job, its suffix, or its ID.'),
  project: z
    .object({ id: z.string(), name: z.string() })
    .nullable()
    .describe('Project of the job; null if it is not yours and you are not an administrator.'),
  model: z.string().nullable(),
  priority: z.number(),
});

export const PoolRunningJob = JobInPool.extend({
  worker: z.string().describe('ID of the worker that runs the job.'),
  started_at: z.number().describe('Time at which the job was assigned to the worker.'),
  step: z.number().nullable(),
  total_steps: z.number().nullable(),
  estimated_finish: z.number().nullable().describe('Expected end; null if it is unknown.'),
}).meta({ id: 'PoolRunningJob' });
export type PoolRunningJob = z.infer<typeof PoolRunningJob>;

export const PoolWaitingJob = JobInPool.extend({
  queued_at: z.number(),
  position: z
    .number()
    .nullable()
    .describe('Position in the queue, from 1; null if the job cannot start.'),
  reason: z.string().nullable().describe('What the job waits for.'),
  estimated_start: z.number().nullable(),
  estimated_start_range: Range.nullable(),
  estimated_seconds: z
    .number()
    .nullable()
    .describe('Seconds for which the job will hold its slot; null if unknown.'),
}).meta({ id: 'PoolWaitingJob' });
export type PoolWaitingJob = z.infer<typeof PoolWaitingJob>;

export const PoolQueueObject = z
  .object({
    object: z.literal('graft.pool_queue'),
    id: z.string().describe('Name of the pool.'),
    at: z.number().describe('Time of the forecast.'),
    running: z.array(PoolRunningJob).readonly(),
    waiting: z.array(PoolWaitingJob).readonly().describe('The first 200 queued jobs, in order.'),
    queued: z.number().describe('Number of queued jobs, including those that are not listed.'),
  })
  .meta({
    id: 'PoolQueueObject',
    description: 'Jobs of a pool, with the forecast of their times.',
  });
export type PoolQueueObject = z.infer<typeof PoolQueueObject>;

export const PoolChange = z
  .object({
    ...JobInPool.shape,
    was_running: z.boolean().describe('Whether the job runs now and would return to the queue.'),
    start_before: z
      .number()
      .nullable()
      .describe('Expected start without the action; null if the job runs or it is unknown.'),
    start_after: z.number().nullable().describe('Expected start with the action; null if unknown.'),
    delay_seconds: z
      .number()
      .nullable()
      .describe(
        'Seconds by which the action delays the job, negative if it starts earlier; null if unknown.',
      ),
  })
  .meta({ id: 'PoolChange' });
export type PoolChange = z.infer<typeof PoolChange>;

export const PoolWhatIfObject = z
  .object({
    object: z.literal('graft.pool_what_if'),
    id: z.string().describe('Name of the pool.'),
    action: z.enum(['front', 'drain', 'cordon']),
    target: z.string().describe('ID of the job or worker.'),
    priority: z
      .number()
      .nullable()
      .describe('For `front`, the priority that moves the job forward; otherwise null.'),
    position: z.number().nullable().describe('For `front`, the position of the job afterwards.'),
    slots_left: z.number().describe('Slots of workers that accept jobs afterwards.'),
    changes: z
      .array(PoolChange)
      .readonly()
      .describe('Jobs whose start changes, in the order in which they start; at most 200.'),
  })
  .meta({ id: 'PoolWhatIfObject', description: 'Forecast of what an action changes in a pool.' });
export type PoolWhatIfObject = z.infer<typeof PoolWhatIfObject>;
