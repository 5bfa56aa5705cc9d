/**
 * LoHa, arXiv:2108.06098: a Hadamard product of two low-rank products reaches rank r² with the parameters of rank 2 r.
 *   y = x Wᵀ + b + s x ΔWᵀ      ΔW = (A₁ B₁) ⊙ (A₂ B₂),  s = α/r
 * x: [n, in]  W, ΔW: [out, in]  A: [out, r]  B: [r, in], all f32; products with x are computed in its dtype. PEFT
 * computes the full ΔW. ΔW is also the product of two thin matrices of products of all pairs of columns (or rows):
 *   ΔW = P Q     P[o, ij] = A₁[o, i] A₂[o, j],  Q[ij, k] = B₁[i, k] B₂[j, k]     P: [out, r²]  Q: [r², in]
 * This form is used where r² (in + out) < in · out: no tensor of W's size is computed or stored for the backward pass.
 * In training, rank_dropout drops rows of ΔW and rescales the rest; module_dropout drops the whole update.
 */
import {
  add,
  addmm,
  addmm_,
  linear,
  matmul,
  mul,
  tidy,
  to,
  transpose,
  unsqueeze,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { checkLayers, rank } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import { alphasOf, isLeftOut, keptRows, lycorisFields, ranksOf } from './parts/lycoris.js';
import type { ModuleParameters } from './frame/parameters.js';

const Options = z
  .strictObject({
    r: rank.default(8).describe('Rank of each of the two factors. Their product can reach rank r²'),
    ...lycorisFields,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const loha = linearMethod<Options>({
  name: 'LOHA',
  title: 'LoHa',
  summary:
    'Low-rank Hadamard product: multiplies two low-rank updates elementwise, for a higher rank than LoRA with as many parameters.',
  paper: 'https://arxiv.org/abs/2108.06098',
  // a step moves ΔW about an eighth as far as with LoRA: A₁ B₁ starts at 1 / (3 √in)
  relativeSize: 0.19,
  defaultLearningRate: 1e-3,
  trainingOnly: ['rank_dropout', 'module_dropout'],
  options: Options,
  unsupported: { use_effective_conv2d: false },
  convertsToLora: true,
  tensors: {
    hada_w1_a: 'parameter',
    hada_w1_b: 'parameter',
    hada_w2_a: 'parameter',
    hada_w2_b: 'parameter',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  convolutions: [1, 2],
  check(options) {
    ranksOf(options);
    alphasOf(options);
  },
  shapes(options) {
    const rankOf = ranksOf(options);
    return ({ path, inFeatures, outFeatures }) => {
      const r = rankOf(path);
      return {
        hada_w1_a: [outFeatures, r],
        hada_w1_b: [r, inFeatures],
        hada_w2_a: [outFeatures, r],
        hada_w2_b: [r, inFeatures],
      };
    };
  },
  adapt(options) {
    const [rankOf, alphaOf] = [ranksOf(options), alphasOf(options)];
    return (target, parameters) => {
      const size = { r: rankOf(target.path), alpha: alphaOf(target.path) };
      return new LohaLinear(target, options, size, parameters);
    };
  },
});

/** LoHa update of one linear layer. */
class LohaLinear implements LinearUpdate {
  readonly #a: readonly [Tensor, Tensor];
  readonly #b: readonly [Tensor, Tensor];
  readonly #scale: number;
  readonly #isThin: boolean;

  constructor(
    private readonly target: Pick<LinearShape, 'inFeatures' | 'outFeatures'>,
    private readonly options: Options,
    { r, alpha }: { readonly r: number; readonly alpha: number },
    parameters: ModuleParameters,
  ) {
    const { inFeatures, outFeatures } = target;
    const a = (part: string): Tensor =>
      parameters.uniform(part, [outFeatures, r], 1 / Math.sqrt(r));
    const b = (part: string): Tensor =>
      parameters.uniform(part, [r, inFeatures], 1 / Math.sqrt(inFeatures));
    const [a1, b1, a2] = [a('hada_w1_a'), b('hada_w1_b'), a('hada_w2_a')];
    const b2 = options.init_weights
      ? parameters.zeros('hada_w2_b', [r, inFeatures])
      : b('hada_w2_b');
    this.#a = [a1, a2];
    this.#b = [b1, b2];
    this.#scale = alpha / r;
    this.#isThin = r * r * (inFeatures + outFeatures) < inFeatures * outFeatures;
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { rank_dropout: rows, module_dropout: whole } = this.options;
    if (ctx.training && whole > 0 && isLeftOut(ctx, whole, this.target.outFeatures)) return y;
    return tidy(() => {
      const [left, right] = this.#isThin
        ? [linear(x, to(this.#q(), x.dtype)), this.#p()]
        : [x, this.#delta()];
      const turned = transpose(to(right, x.dtype), 0, 1);
      if (!ctx.training || rows === 0)
        return (ctx.alone ? addmm_ : addmm)(y, left, turned, { alpha: this.#scale });
      const kept = keptRows(ctx, rows, this.target.outFeatures, true);
      return add(y, mul(matmul(left, turned), to(kept, x.dtype)), this.#scale);
    });
  }

  merged(weight: Tensor): Merged {
    return { weight: add(weight, this.#delta(), this.#scale) };
  }

  #delta(): Tensor {
    const [[a1, a2], [b1, b2]] = [this.#a, this.#b];
    return mul(matmul(a1, b1), matmul(a2, b2));
  }

  #p(): Tensor {
    const [a1, a2] = this.#a;
    return view(mul(unsqueeze(a1, 2), unsqueeze(a2, 1)), [this.target.outFeatures, -1]);
  }

  #q(): Tensor {
    const [b1, b2] = this.#b;
    return view(mul(unsqueeze(b1, 1), unsqueeze(b2, 0)), [-1, this.target.inFeatures]);
  }
}
