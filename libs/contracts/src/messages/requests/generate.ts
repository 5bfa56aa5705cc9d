// A request to continue a chat or a text. Each sampling option is defined once here; the API's request bodies, the
// protocol to the trainer and the trainer use this definition.
import { z } from 'zod';
import { list } from '../fields.js';
import { tokenCount } from './token-count.js';

const MAX_TOKENS = 32_768;
const MAX_TOP_LOGPROBS = 20;
/** Upper bound of a token's length; no known vocabulary has a longer one. */
const MAX_TOKEN_BYTES = 4096;
/** Upper bound; the text of all calls also counts against `max_tokens`. */
const MAX_TOOL_CALLS = 1000;

const temperature = z.number().min(0).max(2);
const topP = z.number().gt(0).max(1);
const seed = z.int().min(0);

/**
 * Sampling options of chat and completion bodies. The API fills in the defaults of those that `generateRequest` requires;
 * all others reach the trainer as the client sent them.
 */
export const answerOptions = {
  max_tokens: z.int().min(1).max(MAX_TOKENS).nullish(),
  temperature: temperature.nullish(),
  top_p: topP.nullish(),
  seed: seed.nullish(),
};

/** Format that the whole response must have. */
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
      .describe('JSON Schema of the arguments object; absent: no arguments'),
  }),
});

/** Tools that a response may call, in the form that chat templates expect. */
const answerTools = z.object({
  tools: z.array(tool).readonly(),
  choice: z
    .union([z.enum(['auto', 'required']), z.object({ name: z.string() })])
    .describe(
      'auto: the model decides; required: the model calls a tool; an object: the model calls the named tool',
    ),
});
export type AnswerTools = Readonly<z.infer<typeof answerTools>>;

const token = z.object({
  token: z.string().describe('Bytes of the token as text; an incomplete character becomes U+FFFD'),
  bytes: list(z.int().min(0).max(255), MAX_TOKEN_BYTES),
  logprob: z
    .number()
    .describe('Natural logarithm of the probability, before temperature and top_p'),
});
const tokenLogprob = token.extend({
  start: tokenCount.describe('Offset of the token in the response text, in UTF-16 code units'),
  top: list(token, MAX_TOP_LOGPROBS).describe(
    'Most likely tokens at this position, most likely first',
  ),
});
export type TokenLogprob = Readonly<z.infer<typeof tokenLogprob>>;

const toolCall = z.object({
  name: z.string(),
  arguments: z.string().describe('Arguments as a JSON object'),
});
export type ToolCall = Readonly<z.infer<typeof toolCall>>;

export const generateRequest = z.object({
  ...answerOptions,
  messages: z
    .array(z.looseObject({ role: z.string() }))
    .readonly()
    .nullable()
    .describe('Chat messages in OpenAI’s format; null: `prompt` is continued'),
  prompt: z.string().nullable(),
  truncation: z
    .literal('auto')
    .nullish()
    .describe(
      'auto: the oldest messages are removed until the prompt leaves space for the response: `max_tokens`, at most a quarter of the context',
    ),
  max_tokens: z.int().min(1).max(MAX_TOKENS),
  may_lower_max_tokens: z
    .boolean()
    .nullish()
    .describe('Whether a worker whose memory is too small for `max_tokens` generates fewer'),
  temperature: temperature.describe(
    'Sampling temperature from 0 to 2; 0: always the most likely token',
  ),
  top_p: topP,
  seed,
  stop: z.array(z.string().min(1)).max(4).readonly(),
  task_id: z
    .int()
    .min(0)
    .nullish()
    .describe('Index of the task, from 0, for an adapter that was trained on several tasks'),
  top_logprobs: z
    .int()
    .min(0)
    .max(MAX_TOP_LOGPROBS)
    .nullish()
    .describe(
      'Number of most likely tokens returned per token, with their log probabilities, from 0 to 20',
    ),
  response_format: answerForm.nullish(),
  tools: answerTools.nullish(),
});
export type GenerateRequest = Readonly<z.infer<typeof generateRequest>>;

/** Part of a response since the previous chunk. */
export const generateAnswer = z.object({
  text: z.string(),
  finish_reason: z
    .enum(['stop', 'length'])
    .nullable()
    .describe('Reason why the response ended; null: more chunks follow'),
  prompt_tokens: tokenCount,
  completion_tokens: tokenCount.describe('Tokens generated so far'),
  logprobs: list(tokenLogprob, MAX_TOKENS)
    .optional()
    .describe('Log probabilities of the tokens that start in `text`, if requested'),
  tool_calls: list(toolCall, MAX_TOOL_CALLS)
    .optional()
    .describe('Tool calls that the model completed in this chunk; they are not part of `text`'),
});
export type GenerateAnswer = Readonly<z.infer<typeof generateAnswer>>;
