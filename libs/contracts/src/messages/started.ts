import { z } from 'zod';
import { count, integer, text } from './fields.js';
import { runEvent } from './run-event.js';

/** The run starts training, or resumes from a checkpoint. */
export const started = runEvent('started', {
  payload: z.object({
    /** Step of the checkpoint that the run resumes from, or 0. */
    from_step: integer,
    /** Total number of steps; 0 for an operation on adapters. */
    total_steps: integer,
    trainable_parameters: count,
    total_parameters: count,
    training_examples: count,
    /** Name of the trainer process, unique per start and added by the agent. Attempts with the same name share a process. */
    process: text.optional(),
    /** Memory in bytes that the agent reserved for the run, without the base. */
    run_bytes: count.optional(),
  }),
  stored: 'own',
});
