/** Events of a job, and answers to its sample prompts, as the API answers them. */
import { z } from 'zod';
import { storedNames, type StoredName } from '../messages/registry.js';
import { SamplePrompt } from './sample-prompts.js';

const HISTORY_KINDS = [
  'step',
  'evaluation',
  'sample',
  'ledger',
  'checkpoint',
  'attempt',
  'paused',
  'resumed',
] as const;
export type EventKind = (typeof HISTORY_KINDS)[number] | StoredName;
export const EventKind = z
  .lazy(() => z.enum<EventKind[]>([...HISTORY_KINDS, ...storedNames()]))
  .meta({
    id: 'EventKind',
    description:
      'What an event is, where a program may want to know: a step, an evaluation, answers to the job’s sample prompts, its loss ledger, a saved checkpoint, an attempt that begins to train, the job paused or queued again after a pause.',
  });

export const JobEventObject = z
  .object({
    object: z.literal('fine_tuning.job.event'),
    id: z.string(),
    created_at: z.number(),
    level: z.enum(['info', 'warn', 'error']),
    message: z.string(),
    type: z.enum(['message', 'metrics']),
    data: z.record(z.string(), z.unknown()).readonly().nullable(),
    graft: z.object({ kind: EventKind.nullable() }),
  })
  .meta({ id: 'JobEventObject' });
export type JobEventObject = z.infer<typeof JobEventObject>;

export const JobSampleObject = z
  .object({
    object: z.literal('fine_tuning.job.sample'),
    id: z.string().describe('Of its event.'),
    created_at: z.number(),
    step_number: z.number(),
    data: z
      .array(
        z.object({
          prompt: SamplePrompt,
          text: z.string(),
          finish_reason: z.enum(['stop', 'length']),
          completion_tokens: z.number(),
        }),
      )
      .readonly()
      .describe('Of each prompt, in their order.'),
  })
  .meta({
    id: 'JobSampleObject',
    description: 'What a job’s adapter answered to its `sample_prompts` at a step, greedily.',
  });
export type JobSampleObject = z.infer<typeof JobSampleObject>;
