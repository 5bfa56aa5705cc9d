// A request for embeddings or classifications, which a model computes without generating text.
import { z } from 'zod';
import { tokenCount } from './token-count.js';

/** Task, and the task options that the adapter was trained with. */
export const taskFields = {
  task: z.string(),
  options: z.record(z.string(), z.unknown()),
};

export const inferRequest = z.object({
  ...taskFields,
  inputs: z
    .array(z.record(z.string(), z.unknown()))
    .readonly()
    .describe(
      'Records of the task without their targets. If media are sent with the request, the data URL of the only input ends at its comma',
    ),
});
export type InferRequest = Readonly<z.infer<typeof inferRequest>>;

export const inferAnswer = z.object({
  answers: z
    .array(z.unknown())
    .readonly()
    .describe('Results of the next inputs; a vector is a base64 string of its f32 values'),
  prompt_tokens: tokenCount.describe('Tokens of all inputs'),
});
export type InferAnswer = Readonly<z.infer<typeof inferAnswer>>;
