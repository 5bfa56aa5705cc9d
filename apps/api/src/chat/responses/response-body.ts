// Body of `POST /v1/responses`, and its translation to a request to a model.
import { answerOptions, type ResponseItem } from '@graft/contracts';
import { z } from 'zod';
import { UNSUPPORTED_IN_RESPONSES, unsupported } from '../answers/unsupported-fields.js';
import { Metadata } from '../../http/parse.js';
import { GraftOfChat, requestOf, unused, type ParsedRequest } from '../chat-body.js';
import { asResponseFormat, formOf, TextFormat } from '../response-format.js';
import { FunctionName, toolsOf } from '../tools.js';
import { Input, itemsOf, messagesOf } from './input-items.js';

/** Names the type of a tool, or of a choice among them, that is not supported. */
const functionOnly = z.literal('function', {
  error: ({ input }) => {
    const type = typeof input === 'string' ? input.slice(0, 50) : 'this type';
    return `${type} is not supported; only tools of type function are`;
  },
});

const Tool = z.strictObject({
  type: functionOnly,
  name: FunctionName,
  description: z.string().nullish(),
  parameters: z
    .record(z.string(), z.unknown())
    .nullish()
    .describe('JSON Schema of an object. Default: no arguments'),
  strict: z
    .boolean()
    .nullish()
    .describe('Ignored: arguments follow `parameters` whenever a call is required'),
  allowed_callers: unsupported(
    'only the model calls functions: leave it out',
    z.tuple([z.literal('direct')]),
  ),
  defer_loading: unsupported('the model sees every tool: leave it out', z.literal(false)),
  output_schema: unsupported('results are not checked: leave it out'),
});

const isNew = (tools: readonly z.infer<typeof Tool>[]): boolean =>
  new Set(tools.map((tool) => tool.name)).size === tools.length;

const LOGPROBS = 'message.output_text.logprobs';

/** Maximum number of tokens of a response whose request has no limit. It bounds models that never end. */
const DEFAULT_OUTPUT_TOKENS = 4096;

export const ResponseBody = z.strictObject({
  model: z.string().min(1).max(300),
  input: Input,
  instructions: z.string().max(1_000_000).nullish().describe('System message before the input'),
  previous_response_id: z
    .string()
    .min(1)
    .max(200)
    .nullish()
    .describe('Stored response whose conversation the input continues, without its instructions'),
  store: z.boolean().nullish().describe('Whether the response is stored. Default: true'),
  background: z
    .boolean()
    .nullish()
    .describe('Whether to return immediately and generate the response afterwards. Requires store'),
  stream: z.boolean().nullish(),
  max_output_tokens: answerOptions.max_tokens.describe(
    `Maximum number of tokens; a response that reaches it is incomplete. Default: the rest of the context, at most ${DEFAULT_OUTPUT_TOKENS}`,
  ),
  truncation: z
    .enum(['auto', 'disabled'])
    .nullish()
    .describe(
      'auto: the oldest items are omitted if the conversation is longer than the context. Default: it is rejected',
    ),
  temperature: answerOptions.temperature,
  top_p: answerOptions.top_p,
  top_logprobs: z
    .int()
    .min(0)
    .max(20)
    .nullish()
    .describe(
      'Number of the most likely tokens to return at each position, with their log-probabilities',
    ),
  include: z
    .array(
      z.literal(LOGPROBS, {
        error: ({ input }) => `${String(input).slice(0, 50)} is not supported; only ${LOGPROBS} is`,
      }),
    )
    .max(20)
    .nullish()
    .describe(`${LOGPROBS}: return the log-probability (ln p) of each token`),
  text: z
    .strictObject({
      format: TextFormat.nullish().describe('Format that constrains the response'),
      verbosity: unsupported('length cannot be configured: leave it out', z.literal('medium')),
    })
    .nullish(),
  tools: z.array(Tool).max(128).refine(isNew, 'expected unique names').nullish(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.strictObject({ type: functionOnly, name: FunctionName }),
    ])
    .nullish()
    .describe('none: the tools are not shown to the model'),
  parallel_tool_calls: z.boolean().nullish().describe('false: at most one call is returned'),
  user: z.string().nullish().describe('Accepted and ignored'),
  graft: GraftOfChat.nullish(),
  ...unused,
  metadata: Metadata,
  ...UNSUPPORTED_IN_RESPONSES,
});
export type ResponseBody = z.infer<typeof ResponseBody>;

const NAMES = {
  format: 'text.format',
  wanted: 'tool_choice.name',
  parameters: 'parameters',
} as const;

export interface ParsedResponse extends ParsedRequest {
  readonly body: ResponseBody;
  /** The whole conversation before the response. */
  readonly items: readonly ResponseItem[];
}

/**
 * Translates the body to a request to a model.
 * @param earlier conversation of the previous response
 */
export const responseRequest = (
  body: ResponseBody,
  earlier: readonly ResponseItem[],
): ParsedResponse => requestForItems(body, [...earlier, ...itemsOf(body.input)]);

/** @param items the whole conversation before the response */
export function requestForItems(
  body: ResponseBody,
  items: readonly ResponseItem[],
): ParsedResponse {
  const { model, temperature, top_p, graft, max_output_tokens: tokens } = body;
  const format = body.text?.format && asResponseFormat(body.text.format);
  const wantsLogprobs = body.include?.includes(LOGPROBS) ?? false;
  const request = requestOf(
    { model, temperature, top_p, graft, max_tokens: tokens ?? DEFAULT_OUTPUT_TOKENS },
    {
      may_lower_max_tokens: tokens == null,
      messages: messagesOf(items, body.instructions),
      prompt: null,
      truncation: body.truncation === 'auto' ? 'auto' : null,
      tools: toolsOf({ ...chatTools(body), response_format: format }, NAMES),
      response_format: formOf(format),
      top_logprobs: wantsLogprobs ? (body.top_logprobs ?? 0) : body.top_logprobs || null,
    },
  );
  return {
    body,
    items,
    model,
    stream: body.stream,
    stream_options: null,
    request,
    limit: tokens == null ? null : { tokens, param: 'max_output_tokens' },
    largeFields: {
      param: 'input',
      list: 'input with the previous responses, instructions, tools and text.format',
    },
    singleToolCall: body.parallel_tool_calls === false,
  };
}

/** Returns the tools with the fields of chat completions. */
function chatTools({ tools, tool_choice: choice }: ResponseBody): Parameters<typeof toolsOf>[0] {
  return {
    tools: tools?.map(({ type, name, description, parameters }) => ({
      type,
      function: {
        name,
        ...(description != null && { description }),
        ...(parameters && { parameters }),
      },
    })),
    tool_choice:
      typeof choice === 'object' && choice
        ? { type: choice.type, function: { name: choice.name } }
        : choice,
  };
}
