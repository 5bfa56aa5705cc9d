import { z } from 'zod';
import { lossText } from '../jobs/loss-text.js';
import { count, integer, metrics } from './fields.js';
import { runEvent } from './run-event.js';

export const step = runEvent('step', {
  payload: z.object({
    /** Number of completed optimizer steps, including this one. */
    step: integer,
    /** Time that the process spent on the step. */
    seconds: z.number(),
    /** Time since the previous step that the process spent on other runs and on requests to models. */
    waited_seconds: z.number(),
    tokens: integer,
    rss_bytes: count,
    /** Metrics of the task on the step's examples before the update, and metrics of the run. */
    metrics,
  }),
  stored: 'series',
  line: ({ step, metrics }, { totalSteps }) =>
    `Step ${step}/${totalSteps ?? '?'}: training loss=${lossText(metrics['loss'] ?? NaN)}`,
});
