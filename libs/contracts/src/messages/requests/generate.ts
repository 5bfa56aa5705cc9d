// A request to continue a chat or a text. An option of an answer is one field here; the API's bodies, the way to the
// trainer and the trainer itself take it from this file.
import { z } from 'zod';
import { list } from '../fields.js';
import { tokenCount } from './token-count.js';

const MAX_TOKENS = 32_768;
const MAX_TOP_LOGPROBS = 20;
/** No vocabulary has a longer token. */
const MAX_TOKEN_BYTES = 4096;
/** Each is text of the answer. */
const MAX_TOOL_CALLS = 1000;

const temperature = z.number().min(0).max(2);
const topP = z.number().gt(0).max(1);
const seed = z.int().min(0);

/**
 * Options that chat and completion bodies accept as they are. The API fills in the defaults of those that
 * `generateRequest` requires; every other option reaches the trainer as the client sent it.
 */
export const answerOptions = {
  max_tokens: z.int().min(1).max(MAX_TOKENS).nullish(),
  temperature: temperature.nullish(),
  top_p: topP.nullish(),
  seed: seed.nullish(),
};

/** What the whole answer must conform to. */
const answerForm = z.discriminatedUnion('type', [
  z.object({ type: z.literal('json_object') }),
  z.object({ type: z.literal('json_schema'), schema: z.unknown() }),
]);
export type AnswerForm = Readonly<z.infer<typeof answerForm>>;

const tool = z.object({
  type: z.literal('function'),
  function: z.object({
    name: z.string(),
    description: z.string().optional(),
    parameters: z
      .record(z.string(), z.unknown())
      .optional()
      .describe('JSON Schema of an object; without it, no arguments'),
  }),
});

/** The tools that an answer may call, as chat templates take them. */
const answerTools = z.object({
  tools: z.array(tool).readonly(),
  choice: z
    .union([z.enum(['auto', 'required']), z.object({ name: z.string() })])
    .describe('auto: the model decides; required: it calls one of them; or the name of the one'),
});
export type AnswerTools = Readonly<z.infer<typeof answerTools>>;

const token = z.object({
  token: z.string().describe('Its bytes as text; an incomplete character is U+FFFD'),
  bytes: list(z.int().min(0).max(255), MAX_TOKEN_BYTES),
  logprob: z.number().describe('ln p, before temperature and top_p'),
});
const tokenLogprob = token.extend({
  start: tokenCount.describe('UTF-16 units of the text of the answer before the token'),
  top: list(token, MAX_TOP_LOGPROBS).describe('The likeliest tokens in its place, likeliest first'),
});
export type TokenLogprob = Readonly<z.infer<typeof tokenLogprob>>;

const toolCall = z.object({
  name: z.string(),
  arguments: z.string().describe('A JSON object'),
});
export type ToolCall = Readonly<z.infer<typeof toolCall>>;

export const generateRequest = z.object({
  ...answerOptions,
  messages: z
    .array(z.looseObject({ role: z.string() }))
    .readonly()
    .nullable()
    .describe('Chat messages as OpenAI has them; null: `prompt` is continued'),
  prompt: z.string().nullable(),
  max_tokens: z.int().min(1).max(MAX_TOKENS),
  temperature: temperature.describe('0: always the likeliest token'),
  top_p: topP,
  seed,
  stop: z.array(z.string().min(1)).max(4).readonly(),
  task_id: z
    .int()
    .min(0)
    .nullish()
    .describe('Of an adapter that was trained for several tasks: which of them, counted from 0'),
  top_logprobs: z
    .int()
    .min(0)
    .max(MAX_TOP_LOGPROBS)
    .nullish()
    .describe('Each token comes with ln p and with this many of the likeliest tokens'),
  response_format: answerForm.nullish(),
  tools: answerTools.nullish(),
});
export type GenerateRequest = Readonly<z.infer<typeof generateRequest>>;

/** What is new of an answer. */
export const generateAnswer = z.object({
  text: z.string(),
  finish_reason: z.enum(['stop', 'length']).nullable().describe('null: more follows'),
  prompt_tokens: tokenCount,
  completion_tokens: tokenCount.describe('So far'),
  logprobs: list(tokenLogprob, MAX_TOKENS)
    .optional()
    .describe('If asked for: of the tokens that begin in `text`'),
  tool_calls: list(toolCall, MAX_TOOL_CALLS)
    .optional()
    .describe('Calls that the model completed; they are not part of `text`'),
});
export type GenerateAnswer = Readonly<z.infer<typeof generateAnswer>>;
