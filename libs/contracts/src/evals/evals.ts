// What evals' results say, in words. Without zod, since the dashboard's bundle has it.
import type { EvalItemResult, EvalOutputItemObject } from './eval-objects.js';

/** Name of the number that an eval gives a checkpoint: the share of its items that pass. */
export const EVAL_SCORE = 'eval_score';

/** What the model answered of an item; null where there is no answer. */
export function answerOf({ sample }: Pick<EvalOutputItemObject, 'sample'>): string | null {
  const text = sample?.['output_text'];
  if (typeof text === 'string') return text;
  const output = sample?.['output'];
  const [first] = (Array.isArray(output) ? output : []) as readonly { content?: unknown }[];
  return typeof first?.content === 'string' ? first.content : null;
}

/** Whether a grader has no verdict. An answer that lacks what the grader reads is wrong, not ungraded. */
export const isUngraded = ({ error }: Pick<EvalItemResult, 'error'>): boolean =>
  error !== undefined && error.code !== 'sample_parse_error';

/** Why an item could not be asked or graded, or what its answer lacks; null where all went well. */
export function itemError({
  sample,
  results,
}: Pick<EvalOutputItemObject, 'sample' | 'results'>): string | null {
  const asked = sample?.['error'] as { message?: string } | null | undefined;
  if (asked?.message !== undefined) return asked.message;
  const wrong = results.find(({ error }) => error !== undefined);
  return wrong?.error ? `${wrong.name}: ${wrong.error.message}` : null;
}
