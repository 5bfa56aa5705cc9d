import { answerOptions } from '@graft/contracts';
import { z } from 'zod';
import {
  NOT_DONE,
  NOT_DONE_IN_CHAT,
  NOT_DONE_IN_MESSAGE,
  NOT_DONE_IN_STREAM,
  NOT_DONE_IN_TEXT,
} from './answers/not-done.js';
import { ResponseFormat } from './response-format.js';
import { ToolCallOfMessage, toolFields } from './tools.js';

const Part = z.strictObject({
  type: z.literal('text', 'only text parts are supported'),
  text: z.string(),
});
const Content = z.union([z.string(), z.array(Part)]);
const Stop = z.string().min(1);

/** Which task an answer is of, by PEFT's name. */
const GraftOfChat = z.strictObject({
  task_ids: z
    .int()
    .min(0)
    .max(1_000_000)
    .nullish()
    .describe('Of a model that was trained for several tasks: which of them, counted from 0'),
});

const sampling = {
  model: z.string().min(1).max(300),
  ...answerOptions,
  stop: z.union([Stop, z.array(Stop).max(4)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), ...NOT_DONE_IN_STREAM })
    .nullish(),
  user: z.string().nullish().describe('Taken, and not used'),
  graft: GraftOfChat.nullish(),
  ...NOT_DONE,
};

/** Says who asks, or would only make an answer faster: taken, since it changes no answer. */
const unused = {
  metadata: z.record(z.string(), z.string()).nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_options: z.looseObject({}).nullish(),
  prompt_cache_retention: z.string().nullish(),
  prediction: z.looseObject({}).nullish(),
};

const Message = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: Content.nullish(),
  tool_call_id: z.string().max(200).nullish(),
  tool_calls: z.array(ToolCallOfMessage).max(128).nullish(),
  ...NOT_DONE_IN_MESSAGE,
});

/** Every field is done, refused, or changes nothing (not-done.ts). */
export const ChatBody = z.strictObject({
  ...sampling,
  ...unused,
  ...NOT_DONE_IN_CHAT,
  max_completion_tokens: answerOptions.max_tokens,
  ...toolFields,
  response_format: ResponseFormat.nullish().describe('What the answer is held to'),
  logprobs: z.boolean().nullish().describe('Whether each token comes with ln p'),
  top_logprobs: z
    .int()
    .min(0)
    .max(20)
    .nullish()
    .describe('With `logprobs`: so many of the likeliest tokens in each place, with theirs'),
  messages: z.array(Message).min(1).max(2000),
});
export type ChatBody = z.infer<typeof ChatBody>;

export const CompletionBody = z.strictObject({
  ...sampling,
  ...NOT_DONE_IN_TEXT,
  logprobs: z
    .int()
    .min(0)
    .max(5)
    .nullish()
    .describe('Each token comes with ln p, and so do this many of the likeliest in its place'),
  prompt: z.string().max(1_000_000),
});
export type CompletionBody = z.infer<typeof CompletionBody>;

/** Parts become one text; `developer` is OpenAI's newer name of `system`. */
export function plainMessages(messages: ChatBody['messages']): object[] {
  return messages.map(({ role, content, tool_calls: calls, tool_call_id: id }) => ({
    role: role === 'developer' ? 'system' : role,
    content:
      typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join(''),
    ...(calls && calls.length > 0 && { tool_calls: calls }),
    ...(id && { tool_call_id: id }),
  }));
}

/** What both endpoints have in common. */
export type Sampling = z.infer<z.ZodObject<typeof sampling>>;
