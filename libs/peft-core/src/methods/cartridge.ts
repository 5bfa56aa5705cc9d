/**
 * Cartridges, arXiv:2506.06266: every layer attends to p trained keys and values in addition to its own, as in prefix
 * tuning. The first of them are frozen, because models rely on early tokens.
 *   table = [F ; T]      F: [frozen, 2 L d], T: [p - frozen, 2 L d], trained
 * d = kv heads · head size; columns as in prefix-tuning.ts.
 */
import { cat, narrow } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import { resolvedFields, virtualTokens } from './frame/fields.js';
import { normal } from '../nn/random-init.js';
import type { PartShapes } from './frame/parameters.js';
import { PREFIX, softPrompt, TABLE } from './frame/soft-prompt.js';

const Options = z
  .strictObject({
    num_virtual_tokens: virtualTokens,
    num_frozen_tokens: z
      .int()
      .min(0)
      .default(1)
      .describe('Number of leading virtual tokens that stay frozen'),
    ...resolvedFields,
  })
  .superRefine(({ num_virtual_tokens: p, num_frozen_tokens: frozen }, ctx) => {
    // PEFT accepts frozen = p; then nothing trains
    if (frozen < p) return;
    const message = `expected num_frozen_tokens below num_virtual_tokens, ${p}, got ${frozen}`;
    ctx.addIssue({ code: 'custom', message, path: ['num_frozen_tokens'] });
  });
type Options = z.infer<typeof Options>;

const FROZEN = 'frozen_embedding';
const TRAINED = 'trainable_embedding';

export const cartridge = softPrompt<Options>({
  name: 'CARTRIDGE',
  title: 'Cartridges',
  summary: 'Trains a key-value prefix as prefix tuning does, with the first virtual tokens frozen.',
  paper: 'https://arxiv.org/abs/2506.06266',
  // the paper's and prefix tuning's
  defaultLearningRate: 1e-2,
  options: Options,
  unsupported: { modules_to_save: null },
  place: PREFIX,
  shapes: ({ num_virtual_tokens: p, num_frozen_tokens: frozen }, model) => ({
    [TRAINED]: [p - frozen, PREFIX.columns(model)],
  }),
  frozen: ({ num_frozen_tokens: rows }, model): PartShapes =>
    rows === 0 ? {} : { [FROZEN]: [rows, PREFIX.columns(model)] },
  start: (name, shape, { seed }) => normal(shape, 1, seed, name),
  table: (part, { options }) =>
    options.num_frozen_tokens === 0 ? part(TRAINED) : cat([part(FROZEN), part(TRAINED)]),
  begin(
    stored,
    { options: { num_virtual_tokens: p, num_frozen_tokens: rows } },
  ): Readonly<Record<string, Tensor>> {
    const table = stored(TABLE);
    if (rows === 0) return { [TRAINED]: table };
    return { [FROZEN]: narrow(table, 0, 0, rows), [TRAINED]: narrow(table, 0, rows, p - rows) };
  },
});
