import { z } from 'zod';
import { text } from './fields.js';
import { runEvent } from './run-event.js';

/** Current activity of the attempt, or what it waits for. */
export const phase = runEvent('phase', {
  payload: z.object({
    code: text,
    message: text,
    /** Progress from 0 to 1; null if unknown. */
    progress: z.number().nullable(),
  }),
  stored: 'own',
});
