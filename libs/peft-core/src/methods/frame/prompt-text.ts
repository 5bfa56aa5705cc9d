/** Prompts initialized from text: their token embeddings [p, D], as the model reads them. */
import { tensor } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Model } from '../../models/model.js';
import type { AttachContext } from '../method.js';
import { tableOf } from '../targets/token-rows.js';

/** PEFT fields of the initial text of a prompt. */
export const textFields = {
  prompt_tuning_init_text: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Initialization text for prompt_tuning_init TEXT, repeated or truncated to the number of virtual tokens',
    ),
  tokenizer_name_or_path: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "Kept for compatibility with PEFT; the text is tokenized with the base model's tokenizer",
    ),
};

/** Rejects an initialization from text without a text; for `superRefine`. */
export function checkText(
  options: {
    readonly prompt_tuning_init: string;
    readonly prompt_tuning_init_text: string | null;
  },
  ctx: z.RefinementCtx,
): void {
  if (options.prompt_tuning_init !== 'TEXT' || options.prompt_tuning_init_text !== null) return;
  const message = 'prompt_tuning_init TEXT requires prompt_tuning_init_text';
  ctx.addIssue({ code: 'custom', message, path: ['prompt_tuning_init_text'] });
}

export const rowsOf = (model: Model, ids: readonly number[]): Tensor =>
  tableOf(model.modules, 'peft_type').rows(tensor(ids, [ids.length], 'i64'));

/** Returns p rows of embeddings of a text, repeated or truncated. @throws DomainError if the text has no tokens */
export function rowsOfText(
  text: string,
  p: number,
  { model, tokenize }: Pick<AttachContext, 'tokenize'> & { readonly model: Model },
): Tensor {
  if (!tokenize)
    throw new DomainError('internal_error', 'prompt_tuning_init TEXT requires a tokenizer');
  const ids = tokenize(text);
  if (ids.length === 0) {
    const advice = 'prompt_tuning_init_text has no tokens; enter a non-empty text';
    throw new DomainError('invalid_value', advice, 'peft.prompt_tuning_init_text');
  }
  return rowsOf(
    model,
    Array.from({ length: p }, (_, i) => ids[i % ids.length] as number),
  );
}
