import { z } from 'zod';
import { MOST_CONFUSED_WHOLE } from '../jobs/confusion.js';
import { lossText } from '../jobs/loss-text.js';
import { count, integer, list, metrics } from './fields.js';
import { runEvent } from './run-event.js';

/** List of `Confusion`, with at most three numbers per pair of labels. */
const counts = list(count, 3 * MOST_CONFUSED_WHOLE ** 2);

export const evaluated = runEvent('evaluated', {
  payload: z.object({
    step: integer,
    /** Metrics of the task. */
    metrics,
    /** Whether all validation data were evaluated, not just a sample. */
    full: z.boolean(),
    /** Confusion matrix; only for tasks that assign one label to each input. */
    confusion: z.object({ classes: counts, cells: counts, examples: counts.optional() }).optional(),
  }),
  stored: 'series',
  line: ({ step, metrics }, { totalSteps }) =>
    `Step ${step}/${totalSteps ?? '?'}: validation loss=${lossText(metrics['loss'] ?? NaN)}`,
});
