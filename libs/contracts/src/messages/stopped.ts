import { z } from 'zod';
import { integer } from './fields.js';
import { runEvent } from './run-event.js';

export const StopReason = z.enum(['cancel', 'pause', 'drain', 'preempt']);
export type StopReason = z.infer<typeof StopReason>;

/** The run has stopped on request. */
export const stopped = runEvent('stopped', {
  payload: z.object({
    /** `other` stands for a reason that only newer workers know. */
    reason: z.enum([...StopReason.options, 'other']),
    step: integer,
  }),
  stored: 'own',
  unknownChoices: { reason: 'other' },
});
