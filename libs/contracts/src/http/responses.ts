// OpenAI's Response object, its input items, and the events of its stream.
import { z } from 'zod';

const token = z
  .object({
    token: z.string(),
    logprob: z
      .number()
      .describe('Natural logarithm of the probability, before temperature and top_p'),
    bytes: z.array(z.int()),
  })
  .meta({ id: 'ResponseTopLogprob' });
const logprobs = z
  .array(token.extend({ top_logprobs: z.array(token) }).meta({ id: 'ResponseLogprob' }))
  .describe('Log probabilities of the tokens, if they were requested');

const outputText = z
  .object({
    type: z.literal('output_text'),
    text: z.string(),
    annotations: z.array(z.unknown()).max(0).describe('Always empty'),
    logprobs,
  })
  .meta({ id: 'ResponseOutputText' });

const itemStatus = z.enum(['in_progress', 'completed', 'incomplete']);

const outputMessage = z
  .object({
    type: z.literal('message'),
    id: z.string(),
    role: z.literal('assistant'),
    status: itemStatus,
    content: z.array(outputText),
  })
  .meta({ id: 'ResponseOutputMessage' });

const functionCall = z
  .object({
    type: z.literal('function_call'),
    id: z.string(),
    call_id: z.string().describe('ID to send with the result of the call'),
    name: z.string(),
    arguments: z.string().describe('Arguments as a JSON object'),
    status: itemStatus,
  })
  .meta({ id: 'ResponseFunctionCall' });

const outputItem = z.discriminatedUnion('type', [outputMessage, functionCall]);
export type ResponseOutputItem = z.infer<typeof outputItem>;

const inputMessage = z
  .object({
    type: z.literal('message'),
    id: z.string(),
    role: z.enum(['user', 'system', 'developer']),
    status: itemStatus,
    content: z.array(z.object({ type: z.literal('input_text'), text: z.string() })),
  })
  .meta({ id: 'ResponseInputMessage' });

const functionCallOutput = z
  .object({
    type: z.literal('function_call_output'),
    id: z.string(),
    call_id: z.string(),
    output: z.string(),
    status: itemStatus,
  })
  .meta({ id: 'ResponseFunctionCallOutput' });

/** An item of the conversation that a response answers. */
export const ResponseItem = z
  .union([inputMessage, outputMessage, functionCall, functionCallOutput])
  .meta({ id: 'ResponseItem' });
export type ResponseItem = z.infer<typeof ResponseItem>;

const usage = z.object({
  input_tokens: z.int(),
  input_tokens_details: z.object({
    cached_tokens: z.int().describe('Always 0'),
    cache_write_tokens: z.int().describe('Always 0'),
  }),
  output_tokens: z.int(),
  output_tokens_details: z.object({ reasoning_tokens: z.int().describe('Always 0') }),
  total_tokens: z.int(),
});

export const ResponseObject = z
  .object({
    id: z.string(),
    object: z.literal('response'),
    created_at: z.int(),
    completed_at: z.int().nullable(),
    status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
    error: z.object({ code: z.literal('server_error'), message: z.string() }).nullable(),
    incomplete_details: z
      .object({ reason: z.literal('max_output_tokens') })
      .nullable()
      .describe('Why the response is incomplete'),
    model: z.string(),
    instructions: z.string().nullable(),
    output: z.array(outputItem),
    parallel_tool_calls: z.boolean(),
    temperature: z.number(),
    top_p: z.number(),
    top_logprobs: z.int(),
    max_output_tokens: z.int().nullable(),
    tool_choice: z.union([
      z.enum(['none', 'auto', 'required']),
      z.object({ type: z.literal('function'), name: z.string() }),
    ]),
    tools: z.array(
      z.object({
        type: z.literal('function'),
        name: z.string(),
        description: z.string().nullable(),
        parameters: z.record(z.string(), z.unknown()).nullable(),
        strict: z.boolean().nullable(),
      }),
    ),
    text: z.object({ format: z.looseObject({ type: z.string() }) }),
    truncation: z.enum(['auto', 'disabled']),
    store: z.boolean().describe('Whether the response is stored'),
    background: z.boolean().describe('Whether the response is generated in the background'),
    previous_response_id: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    usage: usage.nullable().describe('null while the response is in progress'),
  })
  .meta({ id: 'ResponseObject' });
export type ResponseObject = z.infer<typeof ResponseObject>;

const numbered = { sequence_number: z.int().describe('Position of the event, from 0') };
const ofItem = { ...numbered, output_index: z.int() };
const inItem = { ...ofItem, item_id: z.string() };
const inPart = { ...inItem, content_index: z.int() };

const stateEvent = z.object({
  type: z.enum([
    'response.created',
    'response.queued',
    'response.in_progress',
    'response.completed',
    'response.incomplete',
    'response.failed',
  ]),
  ...numbered,
  response: ResponseObject,
});
const itemEvent = z.object({
  type: z.enum(['response.output_item.added', 'response.output_item.done']),
  ...ofItem,
  item: outputItem,
});
const partEvent = z.object({
  type: z.enum(['response.content_part.added', 'response.content_part.done']),
  ...inPart,
  part: outputText,
});

export const ResponseStreamEvent = z
  .discriminatedUnion('type', [
    stateEvent,
    itemEvent,
    partEvent,
    z.object({
      type: z.literal('response.output_text.delta'),
      ...inPart,
      delta: z.string(),
      logprobs,
    }),
    z.object({
      type: z.literal('response.output_text.done'),
      ...inPart,
      text: z.string(),
      logprobs,
    }),
    z.object({
      type: z.literal('response.function_call_arguments.delta'),
      ...inItem,
      delta: z.string(),
    }),
    z.object({
      type: z.literal('response.function_call_arguments.done'),
      ...inItem,
      name: z.string(),
      arguments: z.string(),
    }),
    z.object({
      type: z.literal('error'),
      ...numbered,
      code: z.string().nullable(),
      message: z.string(),
      param: z.string().nullable(),
    }),
  ])
  .meta({ id: 'ResponseStreamEvent' });
export type ResponseStreamEvent = z.infer<typeof ResponseStreamEvent>;
