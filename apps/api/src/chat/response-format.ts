import { DomainError, type AnswerForm } from '@graft/contracts';
import { z } from 'zod';
import { schemaGrammar } from '../catalog/plugins.js';

/**
 * A JSON schema that can constrain answers. Unsupported schemas are rejected here, naming the keyword, before
 * generation starts.
 */
const Schema = z.record(z.string(), z.unknown()).superRefine((schema, { addIssue }) => {
  try {
    schemaGrammar(schema, 'schema');
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const { code, message, param } = error;
    addIssue({
      code: 'custom',
      path: (param ?? '').split('.').slice(1),
      message: message.slice((param ?? '').length + ': '.length),
      params: { code },
    });
  }
});

const named = {
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, 'expected 1 to 64 letters, digits, _ or -'),
  description: z.string().nullish(),
  schema: Schema,
  strict: z.boolean().nullish().describe('Answers always follow the schema'),
};
const plain = [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
] as const;

/** `response_format` of chat completions. */
export const ResponseFormat = z.discriminatedUnion('type', [
  ...plain,
  z.strictObject({ type: z.literal('json_schema'), json_schema: z.strictObject(named) }),
]);
export type ResponseFormat = z.infer<typeof ResponseFormat>;

/** `text.format` of OpenAI's Responses API. */
export const TextFormat = z.discriminatedUnion('type', [
  ...plain,
  z.strictObject({ type: z.literal('json_schema'), ...named }),
]);

export function asResponseFormat(format: z.infer<typeof TextFormat>): ResponseFormat {
  if (format.type !== 'json_schema') return format;
  const { type, ...schema } = format;
  return { type, json_schema: schema };
}

/** Returns the constraint of a format, or null if there is none. */
export function formOf(format: ResponseFormat | null | undefined): AnswerForm | null {
  if (!format || format.type === 'text') return null;
  if (format.type === 'json_object') return format;
  return { type: 'json_schema', schema: format.json_schema.schema };
}
