import { z } from 'zod';

// Fields of OpenAI's contract that Graft does not do. To take them and do nothing would be a lie; but what
// changes nothing is taken, since clients send many fields at their defaults.

const none = z.never();
const zero = z.literal(0);
const no = z.literal(false);
const empty = z.array(none).max(0);

/** A field that is refused with `way` to go on, unless it has a value (or null) that changes nothing. */
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

/** Of both endpoints. */
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
  tools: notDone('the answers of a run call no tools: leave it out', empty),
};

export const NOT_DONE_IN_STREAM = {
  include_obfuscation: notDone('chunks are never padded: leave it out', no),
};
