import { z } from 'zod';
import { integer, text, textTail } from './fields.js';
import { runEvent } from './run-event.js';

/** Work that was running when a trainer process crashed: the run's own, shared with other runs, or only that of others. */
export const Blame = z.enum(['own', 'shared', 'other']);
export type Blame = z.infer<typeof Blame>;

/** The run has failed. Other runs in its process continue. */
export const failed = runEvent('failed', {
  payload: z.object({
    /** Error code (errors.ts). A trainer of another build may have other codes. */
    code: text,
    message: text,
    /** Field of the job that caused the failure, or null. */
    param: text.nullable(),
    retryable: z.boolean(),
    /** End of the trainer's stderr, added by the agent. */
    stderr_tail: textTail.optional(),
    /** Added by the agent if a process crashed and the cause can be narrowed down. */
    blame: Blame.optional(),
    /** Trainer process, as in `started`. */
    process: text.optional(),
    /** Step of the checkpoint to resume from, added by the agent for the code damaged_checkpoint. */
    damaged_step: integer.optional(),
  }),
  stored: 'own',
  unknownChoices: { blame: undefined },
});
