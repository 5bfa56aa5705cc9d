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

/** Maximum number of texts that one request generates. */
const MOST_CHOICES = 128;

const Prompt = z.string().max(1_000_000);

export const CompletionBody = z.strictObject({
  ...sampling,
  ...UNSUPPORTED_IN_TEXT,
  n: z.int().min(1).max(MOST_CHOICES).nullish().describe('Number of choices for each prompt'),
  best_of: z
    .int()
    .min(1)
    .max(20)
    .nullish()
    .describe(
      'Number of texts to generate for each prompt, of which the `n` with the highest mean log-probability per token are returned; default: `n`',
    ),
  logprobs: z
    .int()
    .min(0)
    .max(5)
    .nullish()
    .describe(
      'Returns the log-probability (ln p) of each token, and of this many of the most likely tokens at its position',
    ),
  prompt: z.union([Prompt, z.array(Prompt).min(1).max(MOST_CHOICES)]),
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
  /** Field of the body with the text, and a list of all fields that can be large. Default: those of chats. */
  readonly largeFields?: { readonly param: string; readonly list: string };
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

/** A request for several texts: `best` choices of each group of requests, which have the same prompt. */
export interface ParsedCompletion extends Omit<ParsedRequest, 'request'> {
  readonly groups: readonly (readonly GenerateRequest[])[];
  readonly best: number;
  /** Whether the response has log-probabilities. */
  readonly hasLogprobs: boolean;
}

export function parseCompletion(body: unknown): ParsedCompletion {
  const parsed = parseBody(CompletionBody, body);
  const prompts = [parsed.prompt].flat();
  const best = parsed.n ?? 1;
  const count = parsed.best_of ?? best;
  checkChoices(parsed, prompts.length * count);
  // Choosing the best texts requires their log-probabilities.
  const top_logprobs = parsed.logprobs ?? (count > best ? 0 : null);
  const seed = parsed.seed ?? randomInt(2 ** 31);
  const groups = prompts.map((prompt) =>
    Array.from({ length: count }, (_, i) =>
      requestOf(
        { ...parsed, seed: (seed + i) % 2 ** 53 },
        { messages: null, prompt, top_logprobs },
      ),
    ),
  );
  const hasLogprobs = parsed.logprobs != null;
  return { ...parsed, groups, best, hasLogprobs, limit: limitOf(parsed) };
}

/** @throws DomainError if `n`, `best_of`, `stream` and the number of prompts do not fit together */
function checkChoices({ n, best_of: of, stream }: CompletionBody, choices: number): void {
  const refuse = (message: string, param: string): never => {
    throw new DomainError('invalid_value', `${param}: ${message}`, param);
  };
  const best = n ?? 1;
  if (of != null && of < best) refuse(`expected at least n (${best}), got ${of}`, 'best_of');
  if (of != null && of > best && stream)
    refuse(`cannot be streamed if it exceeds n (${best}); remove stream`, 'best_of');
  if (choices > MOST_CHOICES)
    refuse(
      `expected at most ${MOST_CHOICES} texts for all prompts together, got ${choices}`,
      of == null && n == null ? 'prompt' : of == null ? 'n' : 'best_of',
    );
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
