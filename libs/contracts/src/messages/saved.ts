import { z } from 'zod';
import { files, integer } from './fields.js';
import { runEvent } from './run-event.js';

/** A committed checkpoint. The agent passes it on once its files are uploaded. */
export const saved = runEvent('saved', {
  payload: z.object({
    step: integer,
    files,
    /** The files that Hugging Face PEFT reads, a subset of `files`. */
    adapter: files,
    /** Whether its evaluation is the best so far, in a run that publishes the best (load_best_model_at_end). */
    best: z.boolean(),
  }),
  stored: 'own',
  line: ({ step }) => `Checkpoint created at step ${step}`,
});
