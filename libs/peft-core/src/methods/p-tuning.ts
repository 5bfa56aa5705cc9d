/**
 * P-tuning, arXiv:2103.10385.  Prompts come out of an encoder that is trained with them and folded away on export.
 *
 *   MLP:   P = W₃ relu(W₂ relu(W₁ E + b₁) + b₂) + b₃
 *   LSTM:  P = W₂ relu(W₁ bilstm(E) + b₁) + b₂
 *
 * E: [p, D]; hidden h (LSTM: 2 h after both directions). Names are PEFT's.
 */
import {
  counterDropout,
  linear,
  lstm,
  noGrad,
  relu,
  squeeze,
  tidy,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { RowContext } from '../nn/context.js';
import { defineMethod } from '../plugin.js';
import { resolvedFields, virtualTokens } from './fields.js';
import { leaf, normal, uniform } from './leaf.js';
import { checkRoom, checkSizes, inputSizes, loadTable, TABLE } from './virtual-tokens.js';

const Options = z.strictObject({
  num_virtual_tokens: virtualTokens,
  encoder_reparameterization_type: z
    .enum(['MLP', 'LSTM'])
    .default('MLP')
    .describe('What makes the prompts'),
  encoder_hidden_size: z
    .int()
    .min(1)
    .max(65_536)
    .nullable()
    .default(null)
    .describe("Hidden size of the encoder; left out, the model's"),
  encoder_num_layers: z
    .int()
    .min(1)
    .max(16)
    .default(2)
    .describe('Layers of the LSTM; the MLP always has two hidden ones'),
  encoder_dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('Dropout between layers of the LSTM'),
  ...resolvedFields,
});
type Options = z.infer<typeof Options>;

const DIRECTIONS = ['', '_reverse'];

interface Shape {
  readonly p: number;
  readonly d: number;
  readonly h: number;
}

export const pTuning = defineMethod<Options>({
  name: 'P_TUNING',
  title: 'P-tuning',
  summary:
    'Virtual tokens that come out of a small network (MLP or LSTM), which steadies their training.',
  paper: 'https://arxiv.org/abs/2103.10385',
  defaultLearningRate: 1e-3,
  options: Options,
  neutral: { modules_to_save: null },
  footprint(outline, options, begun) {
    checkSizes(options, inputSizes(outline));
    checkRoom(outline, options.num_virtual_tokens);
    const shape = shapeOf(outline, options);
    const table = shape.p * shape.d;
    const trainableParameters = begun
      ? table
      : encoderParts(options, shape).reduce((sum, { dims }) => sum + product(dims), table);
    return { trainableParameters, virtualTokens: shape.p };
  },
  attach(model, options, init) {
    const sizes = inputSizes(model);
    checkSizes(options, sizes);
    checkRoom(model, options.num_virtual_tokens);
    const shape = shapeOf(model, options);
    const { h } = shape;
    let parameters = initial(options, shape, init.seed);
    const encode = (ctx: RowContext): Tensor =>
      parameters.get(TABLE) ?? encoded(parameters, options, h, ctx);
    const atRest: RowContext = { training: false, key: { seed: 0, step: 0 }, site: 0, alone: true };
    model.sites.inputs.attach(init.run, { length: shape.p, embeddings: encode });
    const dispose = (): void => parameters.forEach((parameter) => parameter.dispose());
    return {
      get parameters() {
        return parameters;
      },
      exported: () => new Map([[TABLE, noGrad(() => encode(atRest))]]),
      load(stored) {
        const table = loadTable(stored, [shape.p, shape.d]);
        dispose();
        parameters = new Map([[TABLE, table]]);
      },
      resolvedConfig: () => ({
        ...options,
        ...sizes,
        encoder_hidden_size: h,
        modules_to_save: null,
      }),
      detach() {
        model.sites.inputs.detach(init.run);
        dispose();
      },
    };
  },
});

function shapeOf({ hiddenSize: d }: { readonly hiddenSize: number }, options: Options): Shape {
  return { p: options.num_virtual_tokens, d, h: options.encoder_hidden_size ?? d };
}

interface Part {
  readonly name: string;
  readonly dims: readonly number[];
  /** Starts at U(-1/√n, 1/√n). */
  readonly n: number;
}

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** The encoder's parameters, without the table E. */
function encoderParts(options: Options, { d, h }: Shape): Part[] {
  const dense = (name: string, out: number, fanIn: number): Part[] => [
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
    DIRECTIONS.flatMap((direction): Part[] => {
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

function initial(options: Options, shape: Shape, seed: number): Map<string, Tensor> {
  const table = 'embedding.weight';
  const parameters = new Map([
    [table, tidy(() => leaf(normal([shape.p, shape.d], 1, seed, table)))],
  ]);
  for (const { name, dims, n } of encoderParts(options, shape)) {
    parameters.set(
      name,
      tidy(() => leaf(uniform(dims, 1 / Math.sqrt(n), seed, name))),
    );
  }
  return parameters;
}

function encoded(
  parameters: ReadonlyMap<string, Tensor>,
  options: Options,
  h: number,
  ctx: RowContext,
): Tensor {
  const get = (name: string): Tensor => parameters.get(name) as Tensor;
  const dense = (x: Tensor, name: string): Tensor =>
    linear(x, get(`${name}.weight`), get(`${name}.bias`));
  return tidy(() => {
    const e = get('embedding.weight');
    if (options.encoder_reparameterization_type === 'MLP') {
      return dense(relu(dense(relu(dense(e, 'mlp_head.0')), 'mlp_head.2')), 'mlp_head.4');
    }
    let x = unsqueeze(e, 0);
    for (let layer = 0; layer < options.encoder_num_layers; layer++) {
      if (layer > 0 && ctx.training && options.encoder_dropout > 0) {
        x = counterDropout(x, options.encoder_dropout, { ...ctx.key, site: ctx.site + layer });
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
