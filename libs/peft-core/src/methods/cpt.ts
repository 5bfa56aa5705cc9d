/**
 * Context-aware prompt tuning, arXiv:2410.17222: the prompt consists of tokens, for example of examples with their
 * answers. A bounded trained offset is added to their embeddings, and the answers in the prompt contribute to the loss
 * of every record.
 *   P = E c + m ⊙ Δ                     ‖Δ_j‖ ≤ ε_j √(D / 2048)
 *   loss = 1/N (Σ_t ℓ_t + Σ_j w_j ℓ_j)   ℓ_t: of the records' tokens, ℓ_j: of the prompt's labels, by record; N: of both
 * c: [p] token ids, E c: their embeddings [p, D], Δ: [p, D], from zero. A token of type k = 0 has no role; otherwise k
 * mod 4 is 1 or 3 for an example's format (ε is opt_projection_format_epsilon), 2 for its input
 * (opt_projection_epsilon) and 0 for its label. m is 0 for labels and tokens without a role. Each example uses four
 * types: 1 to 4, 5 to 8, … With "decay", w is f for labels of the newest example, f² for those before it, and so on (f:
 * opt_loss_decay_factor). Δ is projected within its bounds after each step; PEFT does this before each forward pass.
 */
import { add, clamp, copy_, div, mul, noGrad, norm, tensor, tidy, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { PromptTarget } from '../nn/batch.js';
import { resolvedFields } from './frame/fields.js';
import { rowsOf } from './frame/prompt-text.js';
import { INPUTS, softPrompt, TABLE } from './frame/soft-prompt.js';

/** Maximum number of tokens in a prompt. */
const MOST = 10_000;
const whole = z.int().min(0);

const Options = z
  .strictObject({
    cpt_token_ids: z
      .array(whole)
      .min(1)
      .max(MOST)
      .nullable()
      .default(null)
      .describe('Token ids of the prompt, in the vocabulary of the base model'),
    cpt_tokens_type_mask: z
      .array(whole)
      .nullable()
      .default(null)
      .describe(
        'Type of each prompt token: 1 to 4 are the input template, input, label template and label of the first example, 5 to 8 those of the second, and so on; 0 is none. The largest type must be a label',
      ),
    cpt_mask: z
      .array(z.literal(1))
      .nullable()
      .default(null)
      .describe('Attention mask of the prompt: 1 for each token. Kept for compatibility with PEFT'),
    num_virtual_tokens: z
      .int()
      .min(1)
      .max(MOST)
      .nullable()
      .default(null)
      .describe('Number of virtual tokens. Must equal the length of cpt_token_ids. Optional'),
    opt_weighted_loss_type: z
      .enum(['none', 'decay'])
      .nullable()
      .default('none')
      .describe(
        'Loss weighting of the labels in the prompt: equal, or decaying for older examples',
      ),
    opt_loss_decay_factor: z
      .number()
      .min(0)
      .default(1)
      .describe(
        'Decay factor of the loss weight from each example to the one before it, with decay',
      ),
    opt_projection_epsilon: z
      .number()
      .min(0)
      .default(0.1)
      .describe(
        'Maximum change of the input embeddings (projection epsilon), multiplied by √(hidden size / 2048)',
      ),
    opt_projection_format_epsilon: z
      .number()
      .min(0)
      .default(0.1)
      .describe('Maximum change of the template embeddings (projection epsilon)'),
    tokenizer_name_or_path: z
      .string()
      .nullable()
      .default(null)
      .describe('Kept for compatibility with PEFT; the prompt is given as token ids'),
    ...resolvedFields,
  })
  .superRefine((options, ctx) => {
    const { length } = idsOf(options);
    for (const field of ['cpt_mask', 'cpt_tokens_type_mask'] as const) {
      const given = options[field];
      if (given === null || given.length === length) continue;
      const message = `expected as many as cpt_token_ids, ${length}, got ${given.length}`;
      ctx.addIssue({ code: 'custom', message, path: [field] });
    }
    const { num_virtual_tokens: count } = options;
    if (count === null || count === length) return;
    const message = `expected the length of cpt_token_ids, ${length}, got ${count}; leave it out`;
    ctx.addIssue({ code: 'custom', message, path: ['num_virtual_tokens'] });
  });
type Options = z.infer<typeof Options>;
type Given = Pick<Options, 'cpt_token_ids' | 'cpt_tokens_type_mask'>;

/** PEFT's names of the tensors. */
const FROZEN = 'embedding.weight';
const DELTA = 'delta_embedding.weight';

/** Token ids of the prompt, by default PEFT's own. */
const idsOf = ({ cpt_token_ids: ids }: Pick<Options, 'cpt_token_ids'>): readonly number[] =>
  ids ?? [0];
const typesOf = (options: Given): readonly number[] =>
  options.cpt_tokens_type_mask ?? idsOf(options).map(() => 1);

const trains = (type: number): boolean => type % 4 !== 0;
const isLabel = (type: number): boolean => type > 0 && type % 4 === 0;

export const cpt = softPrompt<Options>({
  name: 'CPT',
  title: 'Context-aware prompt tuning',
  summary:
    'Refines the embeddings of in-context examples within a small bound and trains on their labels too. For few-shot data.',
  paper: 'https://arxiv.org/abs/2410.17222',
  defaultLearningRate: 1e-3,
  options: Options,
  unsupported: { modules_to_save: null },
  requires: 'learns_prompts',
  place: INPUTS,
  length: (options) => idsOf(options).length,
  fits: (options, { vocabulary }) => checkIds(idsOf(options), vocabulary),
  forSteps(options) {
    checkTypes(options);
    return options;
  },
  shapes: (options, model) => ({ [DELTA]: [idsOf(options).length, model.embeddingSize] }),
  frozen: (options, model) => ({ [FROZEN]: [idsOf(options).length, model.embeddingSize] }),
  start(name, shape, { model, options }) {
    if (name === DELTA) return zeros(shape);
    return rowsOf(model, idsOf(options));
  },
  table: (part, { options }) =>
    tidy(() =>
      add(
        part(FROZEN),
        mul(part(DELTA), column(typesOf(options).map((type) => Number(trains(type))))),
      ),
    ),
  begin(stored) {
    const table = stored(TABLE);
    return { [FROZEN]: table, [DELTA]: zeros(table.shape) };
  },
  promptTargets,
  afterStep(part, { options, model }) {
    const delta = part(DELTA);
    noGrad(() => tidy(() => copy_(delta, within(delta, bounds(options, model.embeddingSize)))));
  },
  resolved: (options) => {
    const ids = idsOf(options);
    return {
      cpt_token_ids: [...ids],
      cpt_mask: ids.map(() => 1 as const),
      cpt_tokens_type_mask: [...typesOf(options)],
      num_virtual_tokens: ids.length,
    };
  },
});

/** A column [p, 1] of values. */
const column = (values: readonly number[]): Tensor => tensor(values, [values.length, 1]);

/** Maximum norm of Δ for each token. */
function bounds(options: Options, size: number): number[] {
  const { opt_projection_epsilon: input, opt_projection_format_epsilon: format } = options;
  const scale = Math.sqrt(size / 2048);
  return typesOf(options).map((type) => scale * (type % 4 === 2 ? input : format));
}

/** Δ with the norms of its rows limited to their bounds. */
function within(delta: Tensor, most: readonly number[]): Tensor {
  const lengths = clamp(norm(delta, 2, 1, true), 1e-30);
  return mul(delta, clamp(div(column(most), lengths), undefined, 1));
}

/** Label tokens of the prompt, except at the first position, which has no token before it. */
function promptTargets(options: Options): PromptTarget[] {
  const { opt_weighted_loss_type: kind, opt_loss_decay_factor: factor } = options;
  const [ids, types] = [idsOf(options), typesOf(options)];
  const places = types.flatMap((type, i) => (i > 0 && isLabel(type) ? [i] : []));
  const newest = [...new Set(places.map((i) => types[i] as number))].sort((a, b) => b - a);
  return places.map((i) => ({
    row: i - 1,
    label: ids[i] as number,
    weight: kind === 'decay' ? factor ** (1 + newest.indexOf(types[i] as number)) : 1,
  }));
}

/** Checks that token ids are in the vocabulary. @throws DomainError */
function checkIds(ids: readonly number[], vocabulary: number): void {
  const beyond = ids.find((id) => id >= vocabulary);
  if (beyond === undefined) return;
  const message = `token ${beyond} is outside the vocabulary of ${vocabulary} tokens`;
  throw new DomainError('invalid_value', message, 'peft.cpt_token_ids');
}

/** Checks the token types. @throws DomainError for types with which PEFT would not train on the records */
function checkTypes(options: Options): void {
  const refuse = (field: string, message: string): never => {
    throw new DomainError('invalid_value', message, `peft.${field}`);
  };
  if (options.cpt_token_ids === null)
    refuse('cpt_token_ids', 'cpt_token_ids is required: the ids of the tokens of the prompt');
  const largest = Math.max(...typesOf(options));
  if (largest % 4 === 0) return;
  const given =
    options.cpt_tokens_type_mask === null ? 'the default is 1 for all' : `got ${largest}`;
  refuse(
    'cpt_tokens_type_mask',
    `the largest type must be that of a label, a multiple of 4, ${given}: PEFT continues the types of the records from it, and would otherwise not train on them`,
  );
}
