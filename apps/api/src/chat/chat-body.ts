// Request bodies of the two endpoints, and their translation to requests to models.
import { randomInt } from 'node:crypto';
import {
  answerOptions,
  DomainError,
  parseBody,
  readRequest,
  type GenerateRequest,
} from '@graft/contracts';
import { z } from 'zod';
import {
  UNSUPPORTED,
  UNSUPPORTED_IN_CHAT,
  UNSUPPORTED_IN_MESSAGE,
  UNSUPPORTED_IN_STREAM,
  UNSUPPORTED_IN_TEXT,
} from './answers/unsupported-fields.js';
import { formOf, ResponseFormat } from './response-format.js';
import { ToolCallOfMessage, toolFields, toolsOf } from './tools.js';

const Part = z.strictObject({
  type: z.literal('text', 'only text parts are supported'),
  text: z.string(),
});
const Content = z.union([z.string(), z.array(Part)]);
const Stop = z.string().min(1);

/** Graft's own field: the task to answer for, with PEFT's name. */
export const GraftOfChat = z.strictObject({
  task_ids: z
    .int()
    .min(0)
    .max(1_000_000)
    .nullish()
    .describe('Index of the task, for a model that was trained for several tasks; starts at 0'),
});

const sampling = {
  model: z.string().min(1).max(300),
  ...answerOptions,
  stop: z.union([Stop, z.array(Stop).max(4)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), ...UNSUPPORTED_IN_STREAM })
    .nullish(),
  user: z.string().nullish().describe('Accepted and ignored'),
  graft: GraftOfChat.nullish(),
  ...UNSUPPORTED,
};

/** Fields about the caller or performance. They are accepted because they do not change the answer. */
export const unused = {
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
  ...UNSUPPORTED_IN_MESSAGE,
});

/** Every field is supported, rejected, or has no effect (unsupported-fields.ts). */
export const ChatBody = z.strictObject({
  ...sampling,
  ...unused,
  ...UNSUPPORTED_IN_CHAT,
  max_completion_tokens: answerOptions.max_tokens,
  ...toolFields,
  response_format: ResponseFormat.nullish().describe('Format that constrains the answer'),
  logprobs: z
    .boolean()
    .nullish()
    .describe('Whether to return the log-probability (ln p) of each token'),
  top_logprobs: z
    .int()
    .min(0)
    .max(20)
    .nullish()
    .describe(
      'Requires `logprobs`: number of the most likely tokens to return at each position, with their log-probabilities',
    ),
  messages: z.array(Message).min(1).max(2000),
});
export type ChatBody = z.infer<typeof ChatBody>;

export const CompletionBody = z.strictObject({
  ...sampling,
  ...UNSUPPORTED_IN_TEXT,
  logprobs: z
    .int()
    .min(0)
    .max(5)
    .nullish()
    .describe(
      'Returns the log-probability (ln p) of each token, and of this many of the most likely tokens at its position',
    ),
  prompt: z.string().max(1_000_000),
});
export type CompletionBody = z.infer<typeof CompletionBody>;

/** Fields that both endpoints share. */
type Sampling = z.infer<z.ZodObject<typeof sampling>>;

/** Default of max_tokens. */
export const DEFAULT_TOKENS = 256;

/** The requested maximum length of an answer, and the name of the field that specified it. */
export interface TokenLimit {
  readonly tokens: number;
  readonly param: string;
}

/** A request to a model, and how to send its answer. */
export interface ParsedRequest extends Pick<Sampling, 'model' | 'stream' | 'stream_options'> {
  readonly request: GenerateRequest;
  readonly limit: TokenLimit | null;
  readonly singleToolCall?: boolean;
}

export function parseChat(body: unknown): ParsedRequest {
  const parsed = parseBody(ChatBody, body);
  const limit = limitOf(parsed);
  const request = requestOf(parsed, {
    messages: plainMessages(parsed.messages),
    prompt: null,
    tools: toolsOf(parsed),
    response_format: formOf(parsed.response_format),
    top_logprobs: topLogprobs(parsed),
    max_tokens: limit?.tokens,
  });
  return { ...parsed, request, limit, singleToolCall: parsed.parallel_tool_calls === false };
}

export function parseCompletion(body: unknown): ParsedRequest {
  const parsed = parseBody(CompletionBody, body);
  const { prompt, logprobs } = parsed;
  const request = requestOf(parsed, { messages: null, prompt, top_logprobs: logprobs });
  return { ...parsed, request, limit: limitOf(parsed) };
}

/**
 * Builds the request. Options that need no translation are copied from the body.
 * @param own fields that the endpoint translates
 */
export const requestOf = (
  parsed: Partial<Omit<Sampling, keyof typeof UNSUPPORTED>>,
  own: Readonly<Partial<Record<keyof GenerateRequest, unknown>>>,
): GenerateRequest =>
  readRequest('generate', {
    ...parsed,
    ...own,
    max_tokens: own.max_tokens ?? parsed.max_tokens ?? DEFAULT_TOKENS,
    temperature: parsed.temperature ?? 1,
    top_p: parsed.top_p ?? 1,
    seed: parsed.seed ?? randomInt(2 ** 31),
    stop: [parsed.stop ?? []].flat(),
    task_id: parsed.graft?.task_ids,
  });

function topLogprobs({ logprobs, top_logprobs: top }: ChatBody): number | null {
  if (logprobs) return top ?? 0;
  if (!top) return null;
  const message = 'top_logprobs requires logprobs: true';
  throw new DomainError('invalid_value', message, 'top_logprobs');
}

const LENGTH_FIELDS = ['max_completion_tokens', 'max_tokens'] as const;

function limitOf(
  parsed: Readonly<Partial<Record<(typeof LENGTH_FIELDS)[number], number | null | undefined>>>,
): TokenLimit | null {
  for (const param of LENGTH_FIELDS) {
    const tokens = parsed[param];
    if (tokens != null) return { tokens, param };
  }
  return null;
}

/** Joins text parts and replaces the role `developer`, OpenAI's newer name of `system`. */
export function plainMessages(messages: ChatBody['messages']): object[] {
  return messages.map(({ role, content, tool_calls: calls, tool_call_id: id }) => ({
    role: role === 'developer' ? 'system' : role,
    content:
      typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join(''),
    ...(calls && calls.length > 0 && { tool_calls: calls }),
    ...(id && { tool_call_id: id }),
  }));
}
