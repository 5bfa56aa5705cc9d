import { z } from 'zod';
import { text } from './fields.js';
import { runEvent } from './run-event.js';

/** A line that the trainer writes for the owner of the job. */
export const log = runEvent('log', {
  payload: z.object({
    level: z.enum(['info', 'warn', 'error']),
    message: text,
    /** The kind of a warning about the run itself, e.g. loss_at_chance; null otherwise. */
    code: text.nullable(),
  }),
  stored: 'own',
  unknownChoices: { level: 'info' },
});
