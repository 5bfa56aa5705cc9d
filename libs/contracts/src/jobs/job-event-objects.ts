// Events of a job and its answers to sample prompts, as the API returns them.
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
      'Kind of an event, for programs: a step, an evaluation, answers to the sample prompts, a loss ledger, a saved checkpoint, an attempt that starts training, or the job paused or queued again after a pause.',
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
    id: z.string().describe('ID of the event that reports the answers.'),
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
      .describe('One answer per prompt, in the order of the prompts.'),
  })
  .meta({
    id: 'JobSampleObject',
    description: 'Answers of a job’s adapter to its `sample_prompts` at a step, decoded greedily.',
  });
export type JobSampleObject = z.infer<typeof JobSampleObject>;
