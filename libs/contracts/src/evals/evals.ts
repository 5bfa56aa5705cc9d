// Texts of eval results. No zod: the dashboard bundles this file.
import type { EvalItemResult, EvalOutputItemObject } from './eval-objects.js';

/** Name of the metric that an eval gives a checkpoint: the fraction of items that pass. */
export const EVAL_SCORE = 'eval_score';

/** Returns the model's response to an item; null if there is none. */
export function answerOf({ sample }: Pick<EvalOutputItemObject, 'sample'>): string | null {
  const text = sample?.['output_text'];
  if (typeof text === 'string') return text;
  const output = sample?.['output'];
  const [first] = (Array.isArray(output) ? output : []) as readonly { content?: unknown }[];
  return typeof first?.content === 'string' ? first.content : null;
}

/** Whether a grader returned no verdict. A response without the part that the grader reads is wrong, not ungraded. */
export const isUngraded = ({ error }: Pick<EvalItemResult, 'error'>): boolean =>
  error !== undefined && error.code !== 'sample_parse_error';

/** Returns why an item has no response or no verdict, or what its response is missing; null if there was no error. */
export function itemError({
  sample,
  results,
}: Pick<EvalOutputItemObject, 'sample' | 'results'>): string | null {
  const error = sample?.['error'] as { message?: string } | null | undefined;
  if (error?.message !== undefined) return error.message;
  const wrong = results.find(({ error }) => error !== undefined);
  return wrong?.error ? `${wrong.name}: ${wrong.error.message}` : null;
}
