/**
 * Prefix tuning, arXiv:2101.00190: every layer attends to p trained keys and values in addition to its own.
 *   table = E                               E: [p, 2 L d]
 *   table = W₂ tanh(W₁ E + b₁) + b₂         with projection, E: [p, d]; merged into the table on export
 * d = kv heads · head size. Column ((2 layer + kv) · heads + head) · size + i; kv 0 is the key. Keys are not rotated.
 */
import { linear, tanh, tidy, zeros } from '@graft/kernels';
import { z } from 'zod';
import { resolvedFields, virtualTokens } from './frame/fields.js';
import { normal, uniform } from '../nn/random-init.js';
import type { PartShapes } from './frame/parameters.js';
import { keySize, PREFIX, softPrompt } from './frame/soft-prompt.js';

const Options = z.strictObject({
  num_virtual_tokens: virtualTokens,
  prefix_projection: z
    .boolean()
    .default(false)
    .describe('Compute the prefix with a small network: more stable, but larger during training'),
  encoder_hidden_size: z
    .int()
    .min(1)
    .max(65_536)
    .nullable()
    .default(null)
    .describe('Hidden size of the prefix projection. Default: the key size'),
  init_weights: z
    .enum(['zero'])
    .nullable()
    .default(null)
    .describe('"zero": initialize to zeros; null: randomly'),
  ...resolvedFields,
});
type Options = z.infer<typeof Options>;

/** Name of the table, or of the projection's input. */
const TABLE = 'embedding.weight';

export const prefixTuning = softPrompt<Options>({
  name: 'PREFIX_TUNING',
  title: 'Prefix tuning',
  summary: 'Trains keys and values that every layer attends to, prepended to the input.',
  paper: 'https://arxiv.org/abs/2101.00190',
  relativeSize: 0.05,
  defaultLearningRate: 1e-2,
  tried: [{ num_virtual_tokens: 20 }],
  trainingOnly: ['prefix_projection', 'encoder_hidden_size'],
  options: Options,
  unsupported: { modules_to_save: null },
  place: PREFIX,
  shapes(options, model): PartShapes {
    const [p, d, columns] = [options.num_virtual_tokens, keySize(model), PREFIX.columns(model)];
    if (!options.prefix_projection) return { [TABLE]: [p, columns] };
    const h = options.encoder_hidden_size ?? d;
    return {
      [TABLE]: [p, d],
      'transform.0.weight': [h, d],
      'transform.0.bias': [h],
      'transform.2.weight': [columns, h],
      'transform.2.bias': [columns],
    };
  },
  start(name, shape, { options, model, seed }) {
    const last = options.prefix_projection ? name.startsWith('transform.2') : name === TABLE;
    if (options.init_weights === 'zero' && last) return zeros(shape);
    if (name === TABLE) return normal(shape, 1, seed, name);
    const d = keySize(model);
    const fanIn = name.startsWith('transform.0') ? d : (options.encoder_hidden_size ?? d);
    return uniform(shape, 1 / Math.sqrt(fanIn), seed, name);
  },
  table(part, { options }) {
    const e = part(TABLE);
    if (!options.prefix_projection) return e;
    return tidy(() => {
      const hidden = tanh(linear(e, part('transform.0.weight'), part('transform.0.bias')));
      return linear(hidden, part('transform.2.weight'), part('transform.2.bias'));
    });
  },
  resolved: ({ encoder_hidden_size: h }, model) => ({ encoder_hidden_size: h ?? keySize(model) }),
});
