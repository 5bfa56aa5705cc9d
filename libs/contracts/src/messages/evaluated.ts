import { z } from 'zod';
import { MOST_CONFUSED_WHOLE } from '../jobs/confusion.js';
import { lossText } from '../jobs/loss-text.js';
import { count, integer, list, metrics } from './fields.js';
import { runEvent } from './run-event.js';

/** Three numbers per pair of labels (`Confusion`); its other lists are shorter. */
const counts = list(count, 3 * MOST_CONFUSED_WHOLE ** 2);

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
