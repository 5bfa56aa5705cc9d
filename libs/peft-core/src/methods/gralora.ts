/**
 * GraLoRA, arXiv:2505.20355: splits a weight into k × k blocks, each with its own low-rank update.
 *   y_j += s Σ_n (x_n A_n)_j B_jn        s = α / (r + h)        n, j = 1 … k
 * x: [rows, in], x_n: the n-th of its k parts. A_n: [in/k, r], whose r columns are k groups of r/k, one for each part
 * of the output. B_j: [r, out/k], whose rows are k groups B_jn, one for each part of the input. With hybrid_r = h, a
 * LoRA of rank h on the whole weight is added. All are f32; products are computed in x's dtype. Dropout acts on x; B
 * starts at zero.
 */
import {
  add,
  addmm,
  bmm,
  counterDropout,
  eye,
  linear,
  matmul,
  mul,
  permute,
  reshape,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { checkLayers, dropout, rank, scale, targetOptions } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank
      .default(32)
      .describe(
        'Rank of the update, divided among the blocks. The update itself can reach rank k · r',
      ),
    hybrid_r: z
      .int()
      .min(0)
      .max(4096)
      .default(0)
      .describe('Rank of an additional LoRA (hybrid GraLoRA)'),
    alpha: scale
      .default(64)
      .describe('Scaling numerator: the update is scaled by alpha / (r + hybrid_r)'),
    gralora_dropout: dropout,
    gralora_k: z
      .int()
      .min(1)
      .default(2)
      .describe('Number of blocks per dimension. Recommended: 2 up to rank 32, 4 above'),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    ...targetOptions('query and value projections', 'gralora_only'),
  })
  .superRefine(checkLayers)
  .superRefine(({ r, gralora_k: k }, ctx) => {
    if (r % k === 0) return;
    const message = `expected an r that gralora_k = ${k} divides, got ${r}`;
    ctx.addIssue({ code: 'custom', message, path: ['r'] });
  });
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

export const gralora = linearMethod<Options>({
  name: 'GRALORA',
  title: 'GraLoRA',
  summary:
    'Low-rank updates of the blocks of a weight: higher rank than LoRA with the same number of parameters, and less sensitive to outliers.',
  paper: 'https://arxiv.org/abs/2505.20355',
  // from PEFT's comparison of methods
  relativeSize: 0.38,
  defaultLearningRate: 2e-4,
  trainingOnly: ['gralora_dropout'],
  options: Options,
  unsupported: {},
  convertsToLora: true,
  tensors: {
    gralora_A: 'parameter',
    gralora_B: 'parameter',
    gralora_A_general: 'module',
    gralora_B_general: 'module',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: true,
  // x by parts, and both layouts of the product between A and B
  held: (targets, { r, gralora_k: k }) => ({
    perRow: targets.reduce((sum, { inFeatures }) => sum + inFeatures + 2 * r * k, 0),
  }),
  shapes: (options) => (linear) => partsOf(options, linear),
  adapt: (options) => (target, parameters) => new GraloraLinear(target, options, parameters),
});

/** Returns the shapes of the factors. @throws DomainError if PEFT rejects the sizes */
function partsOf({ r, hybrid_r: h, gralora_k: k }: Options, linear: Size): PartShapes {
  const { path, inFeatures, outFeatures } = linear;
  for (const [what, size] of [
    ['inputs', inFeatures],
    ['outputs', outFeatures],
  ] as const) {
    if (size % k === 0) continue;
    const message = `expected a gralora_k that divides the ${size} ${what} of ${path}, got ${k}`;
    throw new DomainError('invalid_value', message, 'peft.gralora_k');
  }
  return {
    gralora_A: [k, inFeatures / k, r],
    gralora_B: [k, r, outFeatures / k],
    ...(h > 0 && { gralora_A_general: [h, inFeatures], gralora_B_general: [outFeatures, h] }),
  };
}

/** GraLoRA update of one linear layer. */
class GraloraLinear implements LinearUpdate {
  readonly #a: Tensor;
  readonly #b: Tensor;
  /** A and B of the additional LoRA on the whole weight. */
  readonly #general: readonly [Tensor, Tensor] | null;
  readonly #scale: number;

  constructor(
    private readonly target: Size,
    private readonly options: Options,
    parameters: ModuleParameters,
  ) {
    const { r, hybrid_r: h, alpha, gralora_k: k, init_weights: init } = options;
    const shapes = partsOf(options, target);
    const down = (part: string, inputs: number): Tensor =>
      parameters.uniform(part, shapes[part] as number[], 1 / Math.sqrt(inputs));
    const up = (part: string, inputs: number): Tensor =>
      init ? parameters.zeros(part, shapes[part] as number[]) : down(part, inputs);
    this.#a = down('gralora_A', target.inFeatures / k);
    this.#b = up('gralora_B', r);
    this.#general =
      h > 0 ? [down('gralora_A_general', target.inFeatures), up('gralora_B_general', h)] : null;
    this.#scale = alpha / (r + h);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { gralora_dropout: p } = this.options;
    return tidy(() => {
      const rows = x.shape[0] as number;
      // each of the two has its own dropout
      const seen = (offset: number): Tensor =>
        ctx.training && p > 0 ? counterDropout(x, p, { ...ctx.key, site: ctx.module }, offset) : x;
      const blocks = add(y, this.#blocks(seen(0)), this.#scale);
      if (!this.#general) return blocks;
      const [a, b] = this.#general.map((part) => to(part, x.dtype)) as [Tensor, Tensor];
      const low = linear(seen(rows), a);
      return addmm(blocks, low, transpose(b, 0, 1), { alpha: this.#scale });
    });
  }

  merged(weight: Tensor): Merged {
    const blocks = transpose(this.#blocks(eye(this.target.inFeatures)), 0, 1);
    const whole = this.#general ? add(blocks, matmul(this.#general[1], this.#general[0])) : blocks;
    return { weight: add(weight, mul(whole, this.#scale)) };
  }

  #blocks(x: Tensor): Tensor {
    const { r, gralora_k: k } = this.options;
    const rows = x.shape[0] as number;
    const parts = permute(reshape(x, [rows, k, -1]), [1, 0, 2]);
    const low = reshape(bmm(parts, to(this.#a, x.dtype)), [k, rows, k, r / k]);
    const exchanged = reshape(permute(low, [2, 1, 0, 3]), [k, rows, r]);
    const outputs = bmm(exchanged, to(this.#b, x.dtype));
    return reshape(permute(outputs, [1, 0, 2]), [rows, this.target.outFeatures]);
  }
}
