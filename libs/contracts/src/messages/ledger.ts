import { z } from 'zod';
import { integer, list, real } from './fields.js';
import { runEvent } from './run-event.js';

/** Maximum number of examples in a loss ledger. */
export const MAX_LEDGER_ROWS = 500;

const row = z.object({
  /** Line number in the training file. */
  line: integer,
  loss: real,
  /** Loss of the base model alone; null for tasks that the base model cannot perform. */
  base_loss: z.number().nullable(),
});

/** Training examples with the highest loss, highest first. */
export const ledger = runEvent('ledger', {
  payload: z.object({
    step: integer,
    /** Number of examples measured. */
    examples: integer,
    mean_loss: real,
    rows: list(row, MAX_LEDGER_ROWS),
  }),
  stored: 'own',
  line: ({ examples }) => `Measured the loss of ${examples} training examples`,
});
