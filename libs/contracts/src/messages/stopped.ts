import { z } from 'zod';
import { integer } from './fields.js';
import { runEvent } from './run-event.js';

export const StopReason = z.enum(['cancel', 'pause', 'drain', 'preempt']);
export type StopReason = z.infer<typeof StopReason>;

/** The run has ended because it was told to. */
export const stopped = runEvent('stopped', {
  payload: z.object({
    /** other: a reason that only a newer worker knows. */
    reason: z.enum([...StopReason.options, 'other']),
    step: integer,
  }),
  stored: 'own',
  unknownChoices: { reason: 'other' },
});
