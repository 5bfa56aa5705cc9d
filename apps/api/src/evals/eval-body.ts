import { z } from 'zod';
import { UNSUPPORTED_IN_CHAT, UNSUPPORTED_IN_EVALS } from '../chat/answers/unsupported-fields.js';
import { asResponseFormat, ResponseFormat, TextFormat } from '../chat/response-format.js';
import { TemplateMessage, TestingCriterion } from '../graders/grader.js';
import { Metadata } from '../http/parse.js';

const name = z.string().max(256);

export const CreateEvalBody = z.strictObject({
  name: name.optional(),
  metadata: Metadata,
  data_source_config: z.strictObject({
    type: z.literal(
      'custom',
      'only custom is supported: chat completions are not stored, so there are no logs of them',
    ),
    item_schema: z.record(z.string(), z.unknown()),
    include_sample_schema: z.boolean().optional(),
  }),
  testing_criteria: z
    .array(TestingCriterion)
    .min(1)
    .max(20)
    .refine(
      (criteria) => new Set(criteria.map((one) => one.name)).size === criteria.length,
      'expected unique names',
    ),
});

export const UpdateEvalBody = z.strictObject({ name: name.optional(), metadata: Metadata });

export const EvalRow = z.strictObject({
  item: z.record(z.string(), z.unknown()),
  sample: z.looseObject({ output_text: z.string() }).nullish(),
});
export type EvalRow = z.infer<typeof EvalRow>;

const Source = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('file_content'), content: z.array(EvalRow).min(1).max(10_000) }),
  z.strictObject({ type: z.literal('file_id'), id: z.string().min(1).max(200) }),
]);

const InputMessages = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('template'),
    template: z.array(TemplateMessage).min(1).max(100),
  }),
  z.strictObject({
    type: z.literal('item_reference'),
    item_reference: z
      .string()
      .regex(/^item(?:\.\w+)+$/, 'expected item.NAME, the list of messages in an item'),
  }),
]);

const sampling = {
  max_completion_tokens: z.int().min(1).max(32_768).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  seed: z.int().min(0).nullish(),
  reasoning_effort: UNSUPPORTED_IN_CHAT.reasoning_effort,
  tools: UNSUPPORTED_IN_EVALS.tools,
};

const sampled = {
  source: Source,
  model: z.string().min(1).max(300),
  input_messages: InputMessages,
};

export const DataSource = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('jsonl'), source: Source }),
  z.strictObject({
    type: z.literal('completions'),
    ...sampled,
    sampling_params: z
      .strictObject({ ...sampling, response_format: ResponseFormat.nullish() })
      .nullish(),
  }),
  z.strictObject({
    type: z.literal('responses'),
    ...sampled,
    sampling_params: z
      .strictObject({
        ...sampling,
        text: z.strictObject({ format: TextFormat.nullish() }).nullish(),
      })
      .nullish(),
  }),
]);
export type DataSource = z.infer<typeof DataSource>;

/** Returns the response format of a run, which each type of source has in a different place. */
export function formatOf(
  source: Exclude<DataSource, { type: 'jsonl' }>,
): ResponseFormat | undefined {
  if (source.type === 'completions') return source.sampling_params?.response_format ?? undefined;
  const format = source.sampling_params?.text?.format;
  return format ? asResponseFormat(format) : undefined;
}

export const CreateRunBody = z.strictObject({
  name: name.optional(),
  metadata: Metadata,
  data_source: DataSource,
});
