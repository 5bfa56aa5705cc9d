/**
 * P-tuning, arXiv:2103.10385: prompts are the output of an encoder that is trained with them and merged into them on
 * export.
 *   MLP:   P = W₃ relu(W₂ relu(W₁ E + b₁) + b₂) + b₃
 *   LSTM:  P = W₂ relu(W₁ bilstm(E) + b₁) + b₂
 * E: [p, D]; hidden size h (LSTM: 2 h after both directions). Names are PEFT's.
 */
import {
  counterDropout,
  linear,
  lstm,
  relu,
  squeeze,
  tidy,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { RowContext } from '../nn/context.js';
import type { StackShape } from '../nn/outline/outline.js';
import { resolvedFields, virtualTokens } from './frame/fields.js';
import { normal, uniform } from '../nn/random-init.js';
import { INPUTS, softPrompt } from './frame/soft-prompt.js';

const Options = z.strictObject({
  num_virtual_tokens: virtualTokens,
  encoder_reparameterization_type: z
    .enum(['MLP', 'LSTM'])
    .default('MLP')
    .describe('Type of the prompt encoder'),
  encoder_hidden_size: z
    .int()
    .min(1)
    .max(65_536)
    .nullable()
    .default(null)
    .describe('Hidden size of the prompt encoder. Default: that of the model'),
  encoder_num_layers: z
    .int()
    .min(1)
    .max(16)
    .default(2)
    .describe('Number of LSTM layers. The MLP always has two hidden layers'),
  encoder_dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('Dropout probability between LSTM layers'),
  ...resolvedFields,
});
type Options = z.infer<typeof Options>;

const DIRECTIONS = ['', '_reverse'];

type Sized = Pick<StackShape, 'embeddingSize'>;

export const pTuning = softPrompt<Options>({
  name: 'P_TUNING',
  title: 'P-tuning',
  summary:
    'Virtual tokens produced by a small prompt encoder (MLP or LSTM), for more stable training.',
  paper: 'https://arxiv.org/abs/2103.10385',
  relativeSize: 0.2,
  defaultLearningRate: 1e-3,
  trainingOnly: [
    'encoder_reparameterization_type',
    'encoder_hidden_size',
    'encoder_num_layers',
    'encoder_dropout',
  ],
  options: Options,
  unsupported: { modules_to_save: null },
  place: INPUTS,
  shapes: (options, model) => ({
    [TABLE]: [INPUTS.rows(model, options.num_virtual_tokens), model.embeddingSize],
    ...Object.fromEntries(encoderParts(options, model).map(({ name, dims }) => [name, dims])),
  }),
  start(name, shape, { options, model, seed }) {
    if (name === TABLE) return normal(shape, 1, seed, name);
    const part = encoderParts(options, model).find((each) => each.name === name) as EncoderPart;
    return uniform(shape, 1 / Math.sqrt(part.n), seed, name);
  },
  table: (part, { options, model }, ctx) => encoded(part, options, hidden(options, model), ctx),
  resolved: (options, model) => ({ encoder_hidden_size: hidden(options, model) }),
});

/** Name of the input embeddings of the encoder. */
const TABLE = 'embedding.weight';

const hidden = (options: Options, { embeddingSize }: Sized): number =>
  options.encoder_hidden_size ?? embeddingSize;

interface EncoderPart {
  readonly name: string;
  readonly dims: readonly number[];
  /** Bound of the initial values: U(-1/√n, 1/√n). */
  readonly n: number;
}

/** Parameters of the encoder, without the table E. */
function encoderParts(options: Options, model: Sized): EncoderPart[] {
  const [d, h] = [model.embeddingSize, hidden(options, model)];
  const dense = (name: string, out: number, fanIn: number): EncoderPart[] => [
    { name: `${name}.weight`, dims: [out, fanIn], n: fanIn },
    { name: `${name}.bias`, dims: [out], n: fanIn },
  ];
  if (options.encoder_reparameterization_type === 'MLP') {
    return [
      ...dense('mlp_head.0', h, d),
      ...dense('mlp_head.2', h, h),
      ...dense('mlp_head.4', d, h),
    ];
  }
  const layers = Array.from({ length: options.encoder_num_layers }, (_, layer) =>
    DIRECTIONS.flatMap((direction): EncoderPart[] => {
      const [fanIn, suffix] = [layer === 0 ? d : 2 * h, `l${layer}${direction}`];
      return [
        { name: `lstm_head.weight_ih_${suffix}`, dims: [4 * h, fanIn], n: h },
        { name: `lstm_head.weight_hh_${suffix}`, dims: [4 * h, h], n: h },
        { name: `lstm_head.bias_ih_${suffix}`, dims: [4 * h], n: h },
        { name: `lstm_head.bias_hh_${suffix}`, dims: [4 * h], n: h },
      ];
    }),
  );
  return [...layers.flat(), ...dense('mlp_head.0', 2 * h, 2 * h), ...dense('mlp_head.2', d, 2 * h)];
}

function encoded(
  get: (name: string) => Tensor,
  options: Options,
  h: number,
  ctx: RowContext,
): Tensor {
  const dense = (x: Tensor, name: string): Tensor =>
    linear(x, get(`${name}.weight`), get(`${name}.bias`));
  return tidy(() => {
    const e = get(TABLE);
    if (options.encoder_reparameterization_type === 'MLP') {
      return dense(relu(dense(relu(dense(e, 'mlp_head.0')), 'mlp_head.2')), 'mlp_head.4');
    }
    let x = unsqueeze(e, 0);
    for (let layer = 0; layer < options.encoder_num_layers; layer++) {
      if (layer > 0 && ctx.training && options.encoder_dropout > 0) {
        x = counterDropout(x, options.encoder_dropout, { ...ctx.key, site: ctx.module + layer });
      }
      const state = zeros([2, 1, h]);
      const weights = DIRECTIONS.flatMap((direction) =>
        ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh'].map((kind) =>
          get(`lstm_head.${kind}_l${layer}${direction}`),
        ),
      );
      x = lstm(x, [state, state], weights, { bidirectional: true, batchFirst: true }).output;
    }
    return dense(relu(dense(squeeze(x, 0), 'mlp_head.0')), 'mlp_head.2');
  });
}
