import { z } from 'zod';
import { MOST_SAMPLE_PROMPTS } from '../jobs/sample-prompts.js';
import { integer, list, text } from './fields.js';
import { runEvent } from './run-event.js';

const sample = z.object({
  text,
  finish_reason: z.enum(['stop', 'length']),
  completion_tokens: integer,
});

/** Answers to the job's sample prompts, in the order of the prompts. */
export const sampled = runEvent('sampled', {
  payload: z.object({
    step: integer,
    samples: list(sample, MOST_SAMPLE_PROMPTS),
  }),
  stored: 'own',
  line: ({ step, samples: { length } }) =>
    `Step ${step}: answered ${length === 1 ? 'the sample prompt' : `${length} sample prompts`}`,
});
