import { z } from 'zod';

/** OpenAI's limit. */
const MOST_INPUTS = 2048;

const Text = z.string().min(1);
const Tokens = z.array(z.int().min(0)).min(1);

/** The number is looked at when all else is right: else a list of texts is told that it is no list of ids. */
const few = <T extends z.ZodType>(schema: T): T =>
  schema.refine((input) => listed(input).inputs.length <= MOST_INPUTS, {
    error: ({ input }) =>
      `expected at most ${MOST_INPUTS} inputs, got ${listed(input).inputs.length}`,
  });

const model = z.string().min(1).max(300);
const user = z.string().nullish().describe('Taken, and not used');

export const EmbeddingsBody = z.strictObject({
  model,
  input: few(z.union([Text, z.array(Text).min(1), Tokens, z.array(Tokens).min(1)])).describe(
    `A text or a list of texts, or token ids of one or of several; ${MOST_INPUTS} at most`,
  ),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z
    .int()
    .min(1)
    .nullish()
    .describe('The size of the model’s vectors; models are not trained to be cut to fewer'),
  user,
});
export type EmbeddingsBody = z.infer<typeof EmbeddingsBody>;

export const ClassifyBody = z.strictObject({
  model,
  input: few(z.union([Text, z.looseObject({}), z.array(z.unknown()).min(1)])).describe(
    `An input or a list of inputs, ${MOST_INPUTS} at most: a text, or what the task's records have besides their answer`,
  ),
  user,
});
export type ClassifyBody = z.infer<typeof ClassifyBody>;

/** The inputs one by one, and how each is called. */
export function listed(input: unknown): {
  readonly inputs: readonly unknown[];
  readonly name: (index: number) => string;
} {
  return !Array.isArray(input) || typeof input[0] === 'number'
    ? { inputs: [input], name: () => 'input' }
    : { inputs: input as unknown[], name: (index) => `input.${index}` };
}
