import { DomainError } from '@graft/contracts';
import { z } from 'zod';

/** OpenAI's limit. */
const MOST_INPUTS = 2048;

const Text = z.string().min(1);
const Picture = z.strictObject({
  image: z.string().min(1).describe('A picture as a data URL'),
});
const One = z.union([Text, Picture]);
const Tokens = z.array(z.int().min(0)).min(1);

/** The number is looked at when all else is right: else a list of texts is told that it is no list of ids. */
const few = <T extends z.ZodType>(schema: T): T =>
  schema.refine((input) => listed(input).inputs.length <= MOST_INPUTS, {
    error: ({ input }) =>
      `expected at most ${MOST_INPUTS} inputs, got ${listed(input).inputs.length}`,
  });

const model = z.string().min(1).max(300);
const user = z.string().nullish().describe('Taken, and not used');

/** vLLM's form of a picture: a chat of one message with one part. */
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
  input: few(z.union([One, z.array(One).min(1), Tokens, z.array(Tokens).min(1)]))
    .optional()
    .describe(
      `A text or a list of texts, or token ids of one or of several; of models that read pictures data URLs, each by itself or as {"image"}; ${MOST_INPUTS} at most`,
    ),
  messages: Messages.optional().describe(
    'Instead of `input`, as vLLM has it: one message of the user with one `image_url`',
  ),
  encoding_format: format,
  dimensions: z
    .int()
    .min(1)
    .nullish()
    .describe('The size of the model’s vectors; models are not trained to be cut to fewer'),
  user,
});
export type EmbeddingsBody = z.infer<typeof EmbeddingsBody>;

/** @throws DomainError where there is none, or two */
export function embeddingsInput({ input, messages }: EmbeddingsBody): unknown {
  if (messages === undefined && input === undefined)
    throw new DomainError('missing_required_parameter', 'input is required', 'input');
  if (messages === undefined) return input;
  if (input === undefined) return { image: messages[0].content[0].image_url.url };
  throw new DomainError('invalid_value', 'expected input or messages, got both', 'messages');
}

/** Of a request that is a file: all else is. */
export const EmbeddingsFields = z.strictObject({ model, encoding_format: format, user });

export const ClassifyBody = z.strictObject({
  model,
  input: few(z.union([Text, z.looseObject({}), z.array(z.unknown()).min(1)])).describe(
    `An input or a list of inputs, ${MOST_INPUTS} at most: a text, or what the task's records have besides their answer`,
  ),
  user,
});
export type ClassifyBody = z.infer<typeof ClassifyBody>;

export const ClassifyFields = z.strictObject({ model, user });

/** The inputs one by one, and how each is called. */
export function listed(input: unknown): {
  readonly inputs: readonly unknown[];
  readonly name: (index: number) => string;
} {
  return !Array.isArray(input) || typeof input[0] === 'number'
    ? { inputs: [input], name: () => 'input' }
    : { inputs: input as unknown[], name: (index) => `input.${index}` };
}
