// A request for what a model computes from inputs without writing text: vectors (embeddings) or labels (classification).
import { z } from 'zod';
import { tokenCount } from './token-count.js';

/** The task, and the options that the adapter was trained with. */
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
      'Records of the task without their answers. If the request has media, the data URL of the one input ends at its comma',
    ),
});
export type InferRequest = Readonly<z.infer<typeof inferRequest>>;

export const inferAnswer = z.object({
  answers: z
    .array(z.unknown())
    .readonly()
    .describe('Of the next inputs; a vector is a string of its f32 values in base64'),
  prompt_tokens: tokenCount.describe('Of all inputs'),
});
export type InferAnswer = Readonly<z.infer<typeof inferAnswer>>;
