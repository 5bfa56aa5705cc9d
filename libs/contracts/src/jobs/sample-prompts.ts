// Prompts that a run answers during training: `graft.sample_prompts` of a create request and of the Spec sent to workers.
import { z } from 'zod';

export const MOST_SAMPLE_PROMPTS = 8;

/** Maximum number of steps at which a job answers its prompts. All answers are stored as long as the job. */
export const MOST_SAMPLED_STEPS = 1000;

/** Default maximum length of an answer, in tokens. */
export const SAMPLE_TOKENS = 64;

const Text = z.string().min(1).max(8192);

const Message = z.strictObject({
  role: z.enum(['system', 'user', 'assistant']),
  content: Text,
});

/** Text to continue, or chat messages to answer. */
export const SamplePrompt = z.union([Text, z.array(Message).min(1).max(50)]);
export type SamplePrompt = z.infer<typeof SamplePrompt>;

export const SampleOptions = z.strictObject({
  sample_prompts: z.array(SamplePrompt).min(1).max(MOST_SAMPLE_PROMPTS).optional(),
  sample_max_tokens: z.int().min(1).max(512).optional(),
});
export type SampleOptions = z.infer<typeof SampleOptions>;
