import { z } from 'zod';
import { integer, list, real } from './fields.js';
import { runEvent } from './run-event.js';

/** A ledger lists no more examples: nobody reads further. */
export const MAX_LEDGER_ROWS = 500;

const row = z.object({
  /** Of the training file. */
  line: integer,
  loss: real,
  /** The loss of the base alone; null where the base by itself has none. */
  base_loss: z.number().nullable(),
});

/** The training examples with the highest loss, highest first. */
export const ledger = runEvent('ledger', {
  payload: z.object({
    step: integer,
    /** How many examples were measured. */
    examples: integer,
    mean_loss: real,
    rows: list(row, MAX_LEDGER_ROWS),
  }),
  stored: 'own',
  line: ({ examples }) => `The loss of each of the ${examples} training examples was measured`,
});
