import { z } from 'zod';
import { count, files, integer, real } from './fields.js';
import { runEvent } from './run-event.js';

/** The run is complete. The agent passes it on once the adapter is uploaded. */
export const finished = runEvent('finished', {
  payload: z.object({
    step: integer,
    /** The step whose weights the adapter holds: the best evaluation's where the job asks for that, else the last. */
    published_step: integer,
    adapter: files,
    trained_tokens: count,
    /** The loss on fixed texts with the adapter and without; null where it was not asked for or cannot be measured. */
    forgetting: z.object({ loss: real, base_loss: real }).nullable(),
  }),
  stored: 'own',
});
