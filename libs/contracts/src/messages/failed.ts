import { z } from 'zod';
import { integer, text, textTail } from './fields.js';
import { runEvent } from './run-event.js';

/** Whose work was running when a trainer process died: this run's, work that it shared with others, or only others'. */
export const Blame = z.enum(['own', 'shared', 'other']);
export type Blame = z.infer<typeof Blame>;

/** The run has ended by an error. Other runs in its process continue. */
export const failed = runEvent('failed', {
  payload: z.object({
    /** An error code (errors.ts). A trainer of another build may know other codes. */
    code: text,
    message: text,
    /** The field of the job that is wrong, where it is one. */
    param: text.nullable(),
    retryable: z.boolean(),
    /** The last lines of the trainer's stderr, which the agent adds. */
    stderr_tail: textTail.optional(),
    /** Who is to blame, which the agent adds if a process died and it can tell. */
    blame: Blame.optional(),
    /** The trainer process, as in `started`. */
    process: text.optional(),
    /** Added by the agent to damaged_checkpoint: the step of the checkpoint that the run was to resume from. */
    damaged_step: integer.optional(),
  }),
  stored: 'own',
  unknownChoices: { blame: undefined },
});
