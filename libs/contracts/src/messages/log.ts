import { z } from 'zod';
import { text } from './fields.js';
import { runEvent } from './run-event.js';

/** Log message of the trainer for the owner of the job. */
export const log = runEvent('log', {
  payload: z.object({
    level: z.enum(['info', 'warn', 'error']),
    message: text,
    /** Kind of a warning about the run, e.g. loss_at_chance; null for other messages. */
    code: text.nullable(),
  }),
  stored: 'own',
  unknownChoices: { level: 'info' },
});
