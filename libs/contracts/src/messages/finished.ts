import { z } from 'zod';
import { count, files, integer, real } from './fields.js';
import { runEvent } from './run-event.js';

/** The run is complete. The agent forwards the event after the adapter is uploaded. */
export const finished = runEvent('finished', {
  payload: z.object({
    step: integer,
    /** Step whose weights the adapter holds: the best evaluation's if the job requests it, otherwise the last. */
    published_step: integer,
    adapter: files,
    trained_tokens: count,
    /** Loss of fixed texts with and without the adapter; null if not requested or not measurable. */
    forgetting: z.object({ loss: real, base_loss: real }).nullable(),
  }),
  stored: 'own',
});
