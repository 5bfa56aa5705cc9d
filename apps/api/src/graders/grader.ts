import { shorten } from '@graft/contracts';
import { z } from 'zod';
import { UNSUPPORTED_IN_CHAT, unsupported } from '../chat/answers/unsupported-fields.js';
import { METRICS } from './similarity.js';

// Schemas of OpenAI's graders, which are also the testing criteria of evals.

const name = z.string().min(1).max(256);
const Template = z.string().max(1_000_000);
const PassThreshold = z
  .number()
  .nullish()
  .describe('Minimum score to pass in an eval. It does not change a reward');

const OPERATIONS = ['eq', 'ne', 'like', 'ilike'] as const;

const stringCheck = {
  type: z.literal('string_check'),
  name,
  input: Template,
  operation: z
    .enum(OPERATIONS)
    .describe('`like`: whether the input contains the reference; `ilike`: the same, ignoring case'),
  reference: Template,
};

const Metric = z.enum([...METRICS, 'cosine']).superRefine((metric, context) => {
  if (metric === 'cosine')
    context.addIssue({
      code: 'custom',
      message: `cosine is not supported because a grader cannot specify an embedding model; use one of ${METRICS.join(', ')}`,
      params: { code: 'unsupported' },
    });
});

const textSimilarity = {
  type: z.literal('text_similarity'),
  name,
  input: Template,
  reference: Template,
  evaluation_metric: Metric,
  pass_threshold: PassThreshold,
};

/** Types such as `input_image` and `input_audio` are rejected. */
const TextType = z.enum(['input_text', 'output_text'], {
  error: ({ input }) =>
    `${shorten(JSON.stringify(input) ?? 'nothing', 40)} is not supported; use input_text or output_text. In evals, models only read text`,
});

const Part = z.strictObject({
  type: TextType,
  text: Template,
});

export const TemplateMessage = z.strictObject({
  type: z.literal('message').optional(),
  role: z.enum(['user', 'assistant', 'system', 'developer']),
  content: z.union([Template, Part, z.array(z.union([Template, Part])).min(1)]),
});
export type TemplateMessage = z.infer<typeof TemplateMessage>;

const modelFields = {
  name,
  model: z
    .string()
    .min(1)
    .max(300)
    .describe('A base or fine-tuned model in Graft that supports chat'),
  input: z.array(TemplateMessage).min(1).max(100),
};

const Range = z
  .tuple([z.number(), z.number()])
  .refine(([low, high]) => low < high, 'expected the lower bound first');

const SamplingParams = z.strictObject({
  max_completions_tokens: z.int().min(1).max(32_768).nullish(),
  seed: z.int().min(0).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  reasoning_effort: UNSUPPORTED_IN_CHAT.reasoning_effort,
});

const scoreModel = {
  type: z.literal('score_model'),
  ...modelFields,
  range: Range.nullish().describe('Default: 0 to 1'),
  sampling_params: SamplingParams.nullish(),
  pass_threshold: PassThreshold,
};

const labels = z.array(z.string().min(1).max(200)).min(1).max(100);
const labelModel = {
  type: z.literal('label_model'),
  ...modelFields,
  labels,
  passing_labels: labels,
};

const python = {
  type: z.literal('python'),
  name,
  source: z
    .string()
    .min(1)
    .max(256 * 1024)
    .describe('Python code that defines grade(sample, item), which returns a number'),
  image_tag: unsupported(
    'code is run by the interpreter of GRAFT_PYTHON: leave it out',
    z.literal('2025-05-08'),
  ),
  pass_threshold: PassThreshold,
};

const arePassing = (
  { labels: all, passing_labels: passing }: { labels: string[]; passing_labels: string[] },
  context: z.RefinementCtx,
): void => {
  const strange = passing.find((label) => !all.includes(label));
  if (strange !== undefined)
    context.addIssue({
      code: 'custom',
      path: ['passing_labels'],
      message: `expected some of labels (${all.join(', ')}), got ${strange}`,
    });
};

const SINGLE = [
  z.strictObject(stringCheck),
  z.strictObject(textSimilarity),
  z.strictObject(scoreModel),
  z.strictObject(labelModel).superRefine(arePassing),
  z.strictObject(python),
] as const;

export const SingleGrader = z.discriminatedUnion('type', [...SINGLE]);
export type SingleGrader = z.infer<typeof SingleGrader>;

const isName = z
  .string()
  .regex(/^[A-Za-z_]\w{0,63}$/, 'expected a name of letters, digits and _, as in calculate_output');

export const MultiGrader = z.strictObject({
  type: z.literal('multi'),
  name: name.optional(),
  graders: z
    .union([
      // Form in OpenAI's SDK types.
      SingleGrader.transform((grader): Record<string, SingleGrader> => ({ [grader.name]: grader })),
      z
        .record(isName, SingleGrader)
        .refine((graders) => Object.keys(graders).length > 0, 'expected at least one grader')
        .refine((graders) => Object.keys(graders).length <= 20, 'expected at most 20 graders'),
    ])
    .describe('Graders by their names in calculate_output'),
  calculate_output: z.string().min(1).max(1000),
});
export type MultiGrader = z.infer<typeof MultiGrader>;

export const Grader = z.discriminatedUnion('type', [...SINGLE, MultiGrader]);
export type Grader = z.infer<typeof Grader>;

/** A testing criterion. In evals, text_similarity requires a threshold. */
export const TestingCriterion = z.discriminatedUnion('type', [
  SINGLE[0],
  z.strictObject({ ...textSimilarity, pass_threshold: z.number() }),
  SINGLE[2],
  SINGLE[3],
  SINGLE[4],
]);
export type TestingCriterion = z.infer<typeof TestingCriterion>;

export const ValidateGraderBody = z.strictObject({ grader: Grader });
export const RunGraderBody = z.strictObject({
  grader: Grader,
  model_sample: z.string().max(1_000_000),
  item: z.unknown().optional(),
});
