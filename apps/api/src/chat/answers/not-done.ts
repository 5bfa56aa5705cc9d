import { z } from 'zod';

// Fields of OpenAI's API that Graft does not support. Accepting them without effect would mislead the client. Values
// without effect are accepted, because clients send many fields with their defaults.

const none = z.never();
const zero = z.literal(0);
const no = z.literal(false);
const empty = z.array(none).max(0);

/**
 * Returns a schema that rejects a field, unless its value is null or has no effect.
 * @param way what to do instead
 */
export function notDone(way: string, neutral: z.ZodType = none) {
  return z
    .unknown()
    .refine((value) => value == null || neutral.safeParse(value).success, {
      error: `is not supported; ${way}`,
      params: { code: 'unsupported' },
    })
    .optional()
    .describe(`Not supported: ${way}`);
}

const PENALTY = 'sampling uses temperature and top_p only: leave it out';
const FUNCTIONS = 'it was replaced: use tools, tool_choice and tool_calls';
const REASONING = 'how a model reasons cannot be configured: leave it out';

/** Unsupported fields of both endpoints. */
export const NOT_DONE = {
  n: notDone(
    'only one choice is generated: leave it out, and send another request for more',
    z.literal(1),
  ),
  presence_penalty: notDone(PENALTY, zero),
  frequency_penalty: notDone(PENALTY, zero),
  logit_bias: notDone(PENALTY, z.strictObject({})),
};

export const NOT_DONE_IN_CHAT = {
  functions: notDone(FUNCTIONS, empty),
  function_call: notDone(FUNCTIONS, z.enum(['none', 'auto'])),
  modalities: notDone('responses are text: leave it out', z.tuple([z.literal('text')])),
  audio: notDone('responses are text: leave it out'),
  moderation: notDone('there is no moderation: leave it out'),
  web_search_options: notDone('there is no web search: leave it out'),
  reasoning_effort: notDone(REASONING, z.literal('none')),
  verbosity: notDone(REASONING, z.literal('medium')),
  store: notDone('responses are not stored: leave it out', no),
  service_tier: notDone(
    'there is only one service tier: leave it out',
    z.enum(['auto', 'default']),
  ),
};

export const NOT_DONE_IN_TEXT = {
  best_of: notDone('only one choice is generated: leave it out', z.literal(1)),
  echo: notDone('only the text after the prompt is returned: leave it out', no),
  suffix: notDone('models continue a prompt and cannot fill a gap: leave it out', z.literal('')),
};

export const NOT_DONE_IN_MESSAGE = {
  name: notDone('chat templates do not support it: put it into content'),
  refusal: notDone('put it into content', z.literal('')),
  annotations: notDone('leave it out', empty),
  audio: notDone('only text is supported: leave it out'),
  function_call: notDone(FUNCTIONS),
};

export const NOT_DONE_IN_EVALS = {
  tools: notDone('answers of an eval run cannot call tools: leave it out', empty),
};

export const NOT_DONE_IN_STREAM = {
  include_obfuscation: notDone('chunks are never padded: leave it out', no),
};
