/**
 * Prefix tuning, arXiv:2101.00190.  Every layer attends to p trained keys and values besides its own:
 *
 *   table = E                               E: [p, 2 L d]
 *   table = W₂ tanh(W₁ E + b₁) + b₂         with projection, E: [p, d]; folded away on export
 *
 * d = kv heads · head size. Column ((2 layer + kv) · heads + head) · size + i; kv 0 is the key. Keys are not rotated.
 */
import { linear, noGrad, split, tanh, tidy, to, view, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import { defineMethod } from '../plugin.js';
import { resolvedFields, virtualTokens } from './fields.js';
import { leaf, normal, uniform } from './leaf.js';
import { checkRoom, checkSizes, loadTable, prefixSizes, TABLE } from './virtual-tokens.js';

const Options = z.strictObject({
  num_virtual_tokens: virtualTokens,
  prefix_projection: z
    .boolean()
    .default(false)
    .describe('Let a small network make the prefix; steadier, and larger while training'),
  encoder_hidden_size: z
    .int()
    .min(1)
    .max(65_536)
    .nullable()
    .default(null)
    .describe('Hidden size of the projection; left out, that of a key'),
  init_weights: z
    .enum(['zero'])
    .nullable()
    .default(null)
    .describe('"zero" starts from zeros, null from random numbers'),
  ...resolvedFields,
});
type Options = z.infer<typeof Options>;

interface Shape {
  readonly p: number;
  /** of one key or value */
  readonly d: number;
  readonly h: number;
  /** of a row of the table */
  readonly columns: number;
}

export const prefixTuning = defineMethod<Options>({
  name: 'PREFIX_TUNING',
  title: 'Prefix tuning',
  summary: 'Trains keys and values that every layer attends to before the input.',
  paper: 'https://arxiv.org/abs/2101.00190',
  defaultLearningRate: 1e-2,
  options: Options,
  neutral: { modules_to_save: null },
  footprint(outline, options, begun) {
    checkSizes(options, prefixSizes(outline));
    checkRoom(outline, options.num_virtual_tokens);
    const shape = shapeOf(outline, options);
    const trainableParameters = begun
      ? shape.p * shape.columns
      : [...partSizes(options, shape).values()].reduce(
          (sum, [rows, columns = 1]) => sum + rows * columns,
          0,
        );
    return { trainableParameters, virtualTokens: shape.p };
  },
  attach(model, options, init) {
    const sizes = prefixSizes(model);
    checkSizes(options, sizes);
    checkRoom(model, options.num_virtual_tokens);
    const shape = shapeOf(model, options);
    const { d, h } = shape;
    let parameters = initial(options, shape, init.seed);
    const table = (): Tensor => parameters.get(TABLE) ?? projected(parameters);
    model.sites.prefix.attach(init.run, {
      length: shape.p,
      open() {
        const parts = split(to(table(), model.dtype), d, 1);
        const heads = (part: number): Tensor =>
          view(parts[part] as Tensor, [shape.p, model.kvHeads, model.headDim]);
        return (layer) => ({ k: heads(2 * layer), v: heads(2 * layer + 1) });
      },
    });
    const dispose = (): void => parameters.forEach((parameter) => parameter.dispose());
    return {
      get parameters() {
        return parameters;
      },
      exported: () => new Map([[TABLE, noGrad(table)]]),
      load(stored) {
        const loaded = loadTable(stored, [shape.p, shape.columns]);
        dispose();
        parameters = new Map([[TABLE, loaded]]);
      },
      resolvedConfig: () => ({
        ...options,
        ...sizes,
        encoder_hidden_size: h,
        modules_to_save: null,
      }),
      detach() {
        model.sites.prefix.detach(init.run);
        dispose();
      },
    };
  },
});

function shapeOf(
  model: { readonly layers: number; readonly kvHeads: number; readonly headDim: number },
  { num_virtual_tokens: p, encoder_hidden_size: hidden }: Options,
): Shape {
  const d = model.kvHeads * model.headDim;
  return { p, d, h: hidden ?? d, columns: 2 * model.layers * d };
}

const EMBEDDING = 'embedding.weight';

/** Sizes of the parameters. */
function partSizes(
  { prefix_projection }: Options,
  { p, d, h, columns }: Shape,
): Map<string, readonly [number, number?]> {
  if (!prefix_projection) return new Map([[EMBEDDING, [p, columns]]]);
  return new Map<string, readonly [number, number?]>([
    [EMBEDDING, [p, d]],
    ['transform.0.weight', [h, d]],
    ['transform.0.bias', [h]],
    ['transform.2.weight', [columns, h]],
    ['transform.2.bias', [columns]],
  ]);
}

function initial(options: Options, shape: Shape, seed: number): Map<string, Tensor> {
  const zero = options.init_weights === 'zero';
  const fill = (name: string, dims: readonly number[]): Tensor => {
    const last = options.prefix_projection ? name.startsWith('transform.2') : name === EMBEDDING;
    if (zero && last) return zeros(dims);
    if (name === EMBEDDING) return normal(dims, 1, seed, name);
    const fanIn = name.startsWith('transform.0') ? shape.d : shape.h;
    return uniform(dims, 1 / Math.sqrt(fanIn), seed, name);
  };
  return new Map(
    [...partSizes(options, shape)].map(([name, dims]) => [
      name,
      tidy(() => leaf(fill(name, dims as readonly number[]))),
    ]),
  );
}

function projected(parameters: ReadonlyMap<string, Tensor>): Tensor {
  const get = (name: string): Tensor => parameters.get(name) as Tensor;
  const e = get('embedding.weight');
  if (!parameters.has('transform.0.weight')) return e;
  return tidy(() => {
    const hidden = tanh(linear(e, get('transform.0.weight'), get('transform.0.bias')));
    return linear(hidden, get('transform.2.weight'), get('transform.2.bias'));
  });
}
