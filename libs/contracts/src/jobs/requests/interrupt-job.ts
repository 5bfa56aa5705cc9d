// POST /v1/fine_tuning/jobs/{id}/interrupt: kills the trainer process of a running job, for demonstrations and drills.
import { z } from 'zod';

export const InterruptJob = z.strictObject({
  force: z
    .boolean()
    .optional()
    .describe(
      'Interrupt the job even if other jobs train in the same process. They resume from their last checkpoints, too',
    ),
});
export type InterruptJob = z.infer<typeof InterruptJob>;

const InterruptedJob = z.object({
  id: z.string(),
  attempt: z.number().describe('Number of the attempt that ends'),
  step: z.number().describe('Last step that the job has reported'),
  resumes_from: z.number().describe('Step of its newest checkpoint; 0: it starts over'),
});

export const JobInterruptObject = z
  .object({
    object: z.literal('graft.job_interrupt'),
    job_id: z.string(),
    worker: z.string().describe('Name of the worker'),
    process: z.string().describe('Name of the trainer process'),
    jobs: z
      .array(InterruptedJob)
      .readonly()
      .describe('Jobs of the project that trained in the process, with the requested one'),
    others: z.number().describe('Number of jobs of other projects in the process'),
  })
  .meta({
    id: 'JobInterruptObject',
    description:
      'Answer to an interrupt: the worker has received the command to kill the trainer process. Its jobs are queued again and resume from their newest checkpoints.',
  });
export type JobInterruptObject = z.infer<typeof JobInterruptObject>;
