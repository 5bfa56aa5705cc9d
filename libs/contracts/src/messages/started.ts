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
    /** Device of the process, such as "cpu" or "cuda:0 NVIDIA H100 80GB HBM3", added by the agent. */
    device: text.optional(),
    /** Number of CPU threads of the process, added by the agent. */
    threads: integer.optional(),
    /** Build of the trainer, added by the agent; results are equal bit for bit only for equal builds. */
    trainer_build: text.optional(),
  }),
  stored: 'own',
});
