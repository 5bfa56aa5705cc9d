// OpenAI's eval objects, as the API returns them.
import { z } from 'zod';

export const TestingCriterionObject = z.looseObject({ name: z.string(), type: z.string() }).meta({
  id: 'TestingCriterionObject',
  description: 'Grader; fields other than its name and type depend on the type.',
});
export type TestingCriterionObject = z.infer<typeof TestingCriterionObject>;

export const EvalObject = z
  .object({
    id: z.string(),
    object: z.literal('eval'),
    created_at: z.number(),
    name: z.string(),
    metadata: z.record(z.string(), z.string()).readonly(),
    data_source_config: z.object({
      type: z.literal('custom'),
      schema: z.record(z.string(), z.unknown()).readonly(),
    }),
    testing_criteria: z.array(TestingCriterionObject).readonly(),
  })
  .meta({ id: 'EvalObject', description: "Eval in OpenAI's format." });
export type EvalObject = z.infer<typeof EvalObject>;

export const EvalRunStatus = z
  .enum(['queued', 'in_progress', 'completed', 'canceled', 'failed'])
  .meta({ id: 'EvalRunStatus' });
export type EvalRunStatus = z.infer<typeof EvalRunStatus>;

export const EvalRunCounts = z
  .object({
    result_counts: z
      .record(z.enum(['total', 'passed', 'failed', 'errored']), z.number())
      .readonly(),
    per_testing_criteria_results: z
      .array(z.object({ testing_criteria: z.string(), passed: z.number(), failed: z.number() }))
      .readonly(),
    per_model_usage: z
      .array(z.record(z.string(), z.union([z.string(), z.number()])).readonly())
      .readonly(),
  })
  .meta({ id: 'EvalRunCounts', description: 'Item counts and token usage of an eval run.' });
export type EvalRunCounts = z.infer<typeof EvalRunCounts>;

export const EvalRunObject = EvalRunCounts.extend({
  id: z.string(),
  object: z.literal('eval.run'),
  eval_id: z.string(),
  report_url: z.string(),
  status: EvalRunStatus,
  model: z
    .string()
    .describe('Model that answered the items; empty if the run grades existing responses.'),
  name: z.string(),
  created_at: z.number(),
  data_source: z.record(z.string(), z.unknown()).readonly(),
  metadata: z.record(z.string(), z.string()).readonly(),
  error: z
    .object({ code: z.string(), message: z.string() })
    .nullable()
    .describe('Reason why the run failed; null if it did not.'),
  graft: z
    .object({ items_deleted_at: z.number().nullable(), samples_deleted_at: z.number().nullable() })
    .describe(
      'Times at which the items were deleted (with their file) and the samples (with that file or with the job of their model). Scores and counts are kept.',
    ),
}).meta({ id: 'EvalRunObject' });
export type EvalRunObject = z.infer<typeof EvalRunObject>;

export const EvalItemResult = z
  .object({
    name: z.string(),
    type: z.string(),
    score: z.number(),
    passed: z.boolean(),
    sample: z
      .record(z.string(), z.unknown())
      .readonly()
      .nullable()
      .describe('Response of a grader that is a model; null for other graders.'),
    error: z.exactOptional(z.object({ code: z.string(), message: z.string() })),
  })
  .meta({ id: 'EvalItemResult', description: 'Result of one grader for one item.' });
export type EvalItemResult = z.infer<typeof EvalItemResult>;

export const EvalOutputItemObject = z
  .object({
    id: z.string(),
    object: z.literal('eval.run.output_item'),
    created_at: z.number(),
    run_id: z.string(),
    eval_id: z.string(),
    status: z.enum(['pass', 'fail', 'error']),
    datasource_item_id: z.number().describe('Index of the item in its data source, from 0.'),
    datasource_item: z
      .record(z.string(), z.unknown())
      .readonly()
      .describe('Item that was graded; empty if it was deleted with its file.'),
    results: z.array(EvalItemResult).readonly(),
    sample: z
      .record(z.string(), z.unknown())
      .readonly()
      .nullable()
      .describe(
        'Answer that was graded, with its model, messages and sampling parameters; those of a given answer are empty. Null if it was deleted.',
      ),
  })
  .meta({ id: 'EvalOutputItemObject' });
export type EvalOutputItemObject = z.infer<typeof EvalOutputItemObject>;
