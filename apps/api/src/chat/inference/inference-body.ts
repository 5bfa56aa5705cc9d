import { DomainError } from '@graft/contracts';
import { z } from 'zod';

/** Maximum number of inputs, as at OpenAI. */
const MOST_INPUTS = 2048;

const Text = z.string().min(1);
const Picture = z.strictObject({
  image: z.string().min(1).describe('Image as a data URL'),
});
const One = z.union([Text, Picture]);
const Tokens = z.array(z.int().min(0)).min(1);

/** Check the count last, or a list of strings would be reported as an invalid list of token ids. */
const withinInputLimit = <T extends z.ZodType>(schema: T): T =>
  schema.refine((input) => listInputs(input).inputs.length <= MOST_INPUTS, {
    error: ({ input }) =>
      `expected at most ${MOST_INPUTS} inputs, got ${listInputs(input).inputs.length}`,
  });

const model = z.string().min(1).max(300);
const user = z.string().nullish().describe('Accepted and ignored');

/** An image in vLLM's format: a chat of one message with one part. */
const Messages = z.tuple([
  z.strictObject({
    role: z.literal('user'),
    content: z.tuple([
      z.strictObject({
        type: z.literal('image_url'),
        image_url: z.strictObject({ url: z.string().min(1) }),
      }),
    ]),
  }),
]);

const format = z.enum(['float', 'base64']).nullish();

export const EmbeddingsBody = z.strictObject({
  model,
  input: withinInputLimit(z.union([One, z.array(One).min(1), Tokens, z.array(Tokens).min(1)]))
    .optional()
    .describe(
      `A text or a list of texts, or token ids of one or several texts; for models that read images, data URLs, as strings or as {"image"}. At most ${MOST_INPUTS} inputs`,
    ),
  messages: Messages.optional().describe(
    "Alternative to `input` in vLLM's format: one user message with one `image_url`",
  ),
  encoding_format: format,
  dimensions: z
    .int()
    .min(1)
    .nullish()
    .describe(
      'Size of the model’s vectors; smaller sizes are not supported because models are not trained for truncation',
    ),
  user,
});
export type EmbeddingsBody = z.infer<typeof EmbeddingsBody>;

/**
 * Returns the input of the request.
 * @throws DomainError if there is none, or two
 */
export function embeddingsInput({ input, messages }: EmbeddingsBody): unknown {
  if (messages === undefined && input === undefined)
    throw new DomainError('missing_required_parameter', 'input is required', 'input');
  if (messages === undefined) return input;
  if (input === undefined) return { image: messages[0].content[0].image_url.url };
  throw new DomainError('invalid_value', 'expected input or messages, got both', 'messages');
}

/** Fields of a multipart request, whose input is a file. */
export const EmbeddingsFields = z.strictObject({ model, encoding_format: format, user });
export type EmbeddingsFields = z.infer<typeof EmbeddingsFields>;

export const ClassifyBody = z.strictObject({
  model,
  input: withinInputLimit(z.union([Text, z.looseObject({}), z.array(z.unknown()).min(1)])).describe(
    `An input or a list of at most ${MOST_INPUTS} inputs: a text, or the fields of the task's records without the label`,
  ),
  user,
});
export type ClassifyBody = z.infer<typeof ClassifyBody>;

export const ClassifyFields = z.strictObject({ model, user });
export type ClassifyFields = z.infer<typeof ClassifyFields>;

/** Returns the inputs one by one, with the name of each for errors. */
export function listInputs(input: unknown): {
  readonly inputs: readonly unknown[];
  readonly name: (index: number) => string;
} {
  return !Array.isArray(input) || typeof input[0] === 'number'
    ? { inputs: [input], name: () => 'input' }
    : { inputs: input as unknown[], name: (index) => `input.${index}` };
}
