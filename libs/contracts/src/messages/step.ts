import { z } from 'zod';
import { lossText } from '../jobs/loss-text.js';
import { count, integer, metrics } from './fields.js';
import { runEvent } from './run-event.js';

export const step = runEvent('step', {
  payload: z.object({
    /** Optimiser steps done, including this one. */
    step: integer,
    /** Time that the process worked on it. */
    seconds: z.number(),
    /** Time since the previous step in which the process worked for other runs and for answers. */
    waited_seconds: z.number(),
    tokens: integer,
    rss_bytes: count,
    /** The task's, of the step's examples before the update, and the run's. */
    metrics,
  }),
  stored: 'series',
  line: ({ step, metrics }, { totalSteps }) =>
    `Step ${step}/${totalSteps ?? '?'}: training loss=${lossText(metrics['loss'] ?? NaN)}`,
});
