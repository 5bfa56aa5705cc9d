import { z } from 'zod';
import { files, integer } from './fields.js';
import { runEvent } from './run-event.js';

/** Committed checkpoint. The agent forwards the event after the files are uploaded. */
export const saved = runEvent('saved', {
  payload: z.object({
    step: integer,
    files,
    /** Files that Hugging Face PEFT loads, a subset of `files`. */
    adapter: files,
    /** Whether its evaluation is the best so far; only set with load_best_model_at_end. */
    best: z.boolean(),
  }),
  stored: 'own',
  line: ({ step }) => `Checkpoint created at step ${step}`,
});
