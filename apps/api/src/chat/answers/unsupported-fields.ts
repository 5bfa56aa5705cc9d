import { z } from 'zod';

// Fields of OpenAI's API that Graft does not support. Accepting them without effect would mislead the client. Values
// without effect are accepted, because clients send many fields with their defaults.

const none = z.never();
const zero = z.literal(0);
const no = z.literal(false);
const empty = z.array(none).max(0);

/**
 * Returns a schema that rejects a field, unless its value is null or has no effect.
 * @param instead what to do instead
 */
export function unsupported(instead: string, neutral: z.ZodType = none) {
  return z
    .unknown()
    .refine((value) => value == null || neutral.safeParse(value).success, {
      error: `is not supported; ${instead}`,
      params: { code: 'unsupported' },
    })
    .optional()
    .describe(`Not supported: ${instead}`);
}

const PENALTY = 'sampling uses temperature and top_p only: leave it out';
const FUNCTIONS = 'it was replaced: use tools, tool_choice and tool_calls';
const REASONING = 'how a model reasons cannot be configured: leave it out';

/** Unsupported fields of both endpoints. */
export const UNSUPPORTED = {
  presence_penalty: unsupported(PENALTY, zero),
  frequency_penalty: unsupported(PENALTY, zero),
  logit_bias: unsupported(PENALTY, z.strictObject({})),
};

export const UNSUPPORTED_IN_CHAT = {
  n: unsupported(
    'only one choice is generated: leave it out, and send another request for more',
    z.literal(1),
  ),
  functions: unsupported(FUNCTIONS, empty),
  function_call: unsupported(FUNCTIONS, z.enum(['none', 'auto'])),
  modalities: unsupported('responses are text: leave it out', z.tuple([z.literal('text')])),
  audio: unsupported('responses are text: leave it out'),
  moderation: unsupported('there is no moderation: leave it out'),
  web_search_options: unsupported('there is no web search: leave it out'),
  reasoning_effort: unsupported(REASONING, z.literal('none')),
  verbosity: unsupported(REASONING, z.literal('medium')),
  store: unsupported('chat completions are not stored: leave it out', no),
  service_tier: unsupported(
    'there is only one service tier: leave it out',
    z.enum(['auto', 'default']),
  ),
};

export const UNSUPPORTED_IN_TEXT = {
  echo: unsupported('only the text after the prompt is returned: leave it out', no),
  suffix: unsupported(
    'models continue a prompt and cannot fill a gap: leave it out',
    z.literal(''),
  ),
};

export const UNSUPPORTED_IN_MESSAGE = {
  name: unsupported('chat templates do not support it: put it into content'),
  refusal: unsupported('put it into content', z.literal('')),
  annotations: unsupported('leave it out', empty),
  audio: unsupported('only text is supported: leave it out'),
  function_call: unsupported(FUNCTIONS),
};

export const UNSUPPORTED_IN_EVALS = {
  tools: unsupported('answers of an eval run cannot call tools: leave it out', empty),
};

export const UNSUPPORTED_IN_STREAM = {
  include_obfuscation: unsupported('chunks are never padded: leave it out', no),
};

export const UNSUPPORTED_IN_RESPONSES = {
  conversation: unsupported('there are no conversations: use previous_response_id'),
  prompt: unsupported('prompts are not stored: use instructions and input'),
  reasoning: unsupported(
    REASONING,
    z.strictObject({ effort: z.literal('none').nullish(), summary: z.null().optional() }),
  ),
  context_management: unsupported('the input is used as it is: leave it out', empty),
  max_tool_calls: unsupported('there are no built-in tools: leave it out'),
  moderation: UNSUPPORTED_IN_CHAT.moderation,
  service_tier: UNSUPPORTED_IN_CHAT.service_tier,
  stream_options: unsupported(
    'chunks are never padded: leave it out',
    z.strictObject({ include_obfuscation: no.optional() }),
  ),
};
