import { z } from 'zod';
import { count, integer, text } from './fields.js';
import { runEvent } from './run-event.js';

/** The run begins to train, or goes on from a checkpoint. */
export const started = runEvent('started', {
  payload: z.object({
    /** 0, or the step of the checkpoint that it resumes from. */
    from_step: integer,
    /** 0 for an operation on adapters, which has no steps. */
    total_steps: integer,
    trainable_parameters: count,
    total_parameters: count,
    training_examples: count,
    /** The name of the trainer process, new at each start, which the agent adds. Attempts with the same name share a process. */
    process: text.optional(),
    /** The bytes that the agent reserved for the run beside the base. */
    run_bytes: count.optional(),
  }),
  stored: 'own',
});
