import { z } from 'zod';
import { lossText } from '../jobs/loss-text.js';
import { count, integer, metrics } from './fields.js';
import { runEvent } from './run-event.js';

const counts = z.array(count).readonly();

export const evaluated = runEvent('evaluated', {
  payload: z.object({
    step: integer,
    /** The task's. */
    metrics,
    /** True for the whole validation file, false for a sample of it. */
    full: z.boolean(),
    /** Which labels were predicted for which (`Confusion`); only for tasks that give each input one label. */
    confusion: z.object({ classes: counts, cells: counts, examples: counts.optional() }).optional(),
  }),
  stored: 'series',
  line: ({ step, metrics }, { totalSteps }) =>
    `Step ${step}/${totalSteps ?? '?'}: validation loss=${lossText(metrics['loss'] ?? NaN)}`,
});
