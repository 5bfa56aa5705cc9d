import { z } from 'zod';
import { text } from './fields.js';
import { runEvent } from './run-event.js';

/** What the attempt does or waits for. */
export const phase = runEvent('phase', {
  payload: z.object({
    code: text,
    message: text,
    /** From 0 to 1; null where unknown. */
    progress: z.number().nullable(),
  }),
  stored: 'own',
});
