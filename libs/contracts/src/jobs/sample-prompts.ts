// Prompts that a run answers as it trains: `graft.sample_prompts` of a create call, and of the Spec that a worker gets.
import { z } from 'zod';

export const MOST_SAMPLE_PROMPTS = 8;

/** Steps at which a job answers its prompts, at most: the answers to all of them are kept for as long as the job is. */
export const MOST_SAMPLED_STEPS = 1000;

/** As long as an answer may become unless the job says otherwise, in tokens. */
export const SAMPLE_TOKENS = 64;

const Text = z.string().min(1).max(8192);

const Message = z.strictObject({
  role: z.enum(['system', 'user', 'assistant']),
  content: Text,
});

/** A text to continue, or a chat to answer. */
export const SamplePrompt = z.union([Text, z.array(Message).min(1).max(50)]);
export type SamplePrompt = z.infer<typeof SamplePrompt>;

export const SampleOptions = z.strictObject({
  sample_prompts: z.array(SamplePrompt).min(1).max(MOST_SAMPLE_PROMPTS).optional(),
  sample_max_tokens: z.int().min(1).max(512).optional(),
});
export type SampleOptions = z.infer<typeof SampleOptions>;
