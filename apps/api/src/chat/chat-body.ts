import { z } from 'zod';

const Part = z.looseObject({
  type: z.literal('text', 'only text parts are supported'),
  text: z.string(),
});
const Content = z.union([z.string(), z.array(Part)]);

const sampling = {
  model: z.string().min(1).max(300),
  max_tokens: z.int().min(1).max(32_768).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  seed: z.int().min(0).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(4)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  n: z.literal(1, 'only one choice is made; leave n out').nullish(),
};

/** Fields that Graft does not know are left alone: clients of the OpenAI API send many. */
export const ChatBody = z.looseObject({
  ...sampling,
  max_completion_tokens: z.int().min(1).max(32_768).nullish(),
  messages: z
    .array(
      z.looseObject({
        role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
        content: Content.nullish(),
      }),
    )
    .min(1)
    .max(2000),
});
export type ChatBody = z.infer<typeof ChatBody>;

export const CompletionBody = z.looseObject({ ...sampling, prompt: z.string().max(1_000_000) });
export type CompletionBody = z.infer<typeof CompletionBody>;

/** Parts become one text; `developer` is OpenAI's newer name of `system`. */
export function plainMessages(messages: ChatBody['messages']): { role: string; content: string }[] {
  return messages.map(({ role, content }) => ({
    role: role === 'developer' ? 'system' : role,
    content:
      typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join(''),
  }));
}

/** What both endpoints have in common. */
export type Sampling = z.infer<z.ZodObject<typeof sampling>>;
