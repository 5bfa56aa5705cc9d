/**
 * Super-Tuning, arXiv:2607.09287: trains the largest values of each weight; with r it also adds a LoRA, the paper's
 * Supra.
 *   y = x Wᵀ + b + x ΔWᵀ [+ s (x Aᵀ) Bᵀ]      ΔW[i_k] = w_k, else 0      s = α/r
 * x: [n, in]  W, ΔW: [out, in]  w: [⌊out in (1 - sparsity)⌋]  A: [r, in]  B: [out, r], all f32; products are computed
 * in x's dtype. The positions i count row by row, with the largest (or the smallest) |W| first; files store them.
 * Dropout acts on A's input x. PEFT adds ΔW to W in the base's dtype, which loses small changes in bf16; here it is a
 * separate product.
 */
import {
  add,
  addmm,
  addmm_,
  call,
  counterDropout,
  keep,
  linear,
  neg,
  noGrad,
  reshape,
  tidy,
  to,
  topk,
  transpose,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear, LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { dropout, modulesToSave, rank, scale, targetNames } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { NamedTensors } from './method.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';
import { scattered } from './parts/spectrum.js';

const Options = z
  .strictObject({
    sparsity: z
      .number()
      .min(0)
      .lt(1)
      .default(0.99)
      .describe(
        'Fraction of each weight that stays frozen: with 0.99, 1 % of the entries are trained',
      ),
    select_top: z
      .boolean()
      .default(true)
      .describe('true: train the entries of largest magnitude; false: those of smallest magnitude'),
    r: rank.nullable().default(null).describe('Rank of an additional LoRA (Supra). null: none'),
    lora_alpha: scale
      .nullable()
      .default(null)
      .describe(
        'Scaling numerator of that LoRA, which is scaled by lora_alpha / r. Default (null): 2 × r',
      ),
    lora_dropout: dropout,
    target_modules: targetNames('query and value projections'),
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
    modules_to_save: modulesToSave,
  })
  .superRefine(({ r, lora_alpha: alpha }, ctx) => {
    if (r === null && alpha !== null)
      ctx.addIssue({
        code: 'custom',
        message: 'lora_alpha requires r; set r or remove lora_alpha',
        path: ['lora_alpha'],
      });
  });
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

const [VALUES, INDICES] = ['supertuning_values', 'supertuning_indices'] as const;
const [A, B] = ['supertuning_lora_A', 'supertuning_lora_B'] as const;

export const supertuning = linearMethod<Options>({
  name: 'SUPERTUNING',
  title: 'Super-Tuning',
  summary: 'Trains the largest 1 % of the entries of each weight, optionally together with a LoRA.',
  paper: 'https://arxiv.org/abs/2607.09287',
  // from PEFT's example
  relativeSize: 0.03,
  defaultLearningRate: 1e-4,
  options: Options,
  unsupported: { save_precomputed_indices: true },
  reasons: {
    save_precomputed_indices:
      'without the positions in the file, they would differ on a base in another precision',
  },
  trainingOnly: ['lora_dropout'],
  tensors: { [VALUES]: 'parameter', [INDICES]: 'parameter', [A]: 'module', [B]: 'module' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  // ΔW as the product uses it, the positions as in files and as used, and the largest weight while it is sorted
  held: (targets, { sparsity }) => ({
    numbers:
      numbersIn(targets) +
      targets.reduce((sum, target) => sum + 3 * count(sparsity, target), 0) +
      5 * Math.max(...targets.map((target) => numbersIn([target]))),
  }),
  shapes: (options) => (target) => shapesOf(options, target),
  adapt: (options) => (target, parameters) => new SupertuningLinear(target, options, parameters),
  resolved: ({ r, lora_alpha: alpha }) => ({ lora_alpha: alpha ?? (r === null ? null : 2 * r) }),
});

/** |w|, with operators that libtorch's meta device supports. */
const sizesOf = (w: Tensor): Tensor => call('aten::maximum', w, neg(w)) as Tensor;

/** Returns the number of trained values. @throws DomainError if none remains */
function count(sparsity: number, { path, inFeatures, outFeatures }: Size): number {
  const all = inFeatures * outFeatures;
  const left = Math.trunc(all * (1 - sparsity));
  if (left > 0) return left;
  const message = `sparsity = ${sparsity} leaves no trainable parameters among the ${all} of ${path}; lower it`;
  throw new DomainError('invalid_value', message, 'peft.sparsity');
}

function shapesOf({ sparsity, r }: Options, target: Size): PartShapes {
  const { inFeatures, outFeatures } = target;
  const values = { [VALUES]: [count(sparsity, target)] };
  return r === null ? values : { ...values, [A]: [r, inFeatures], [B]: [outFeatures, r] };
}

/** Optional LoRA that is added to the trained values. */
interface AddedLora {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

class SupertuningLinear implements LinearUpdate {
  readonly #values: Tensor;
  /** Positions as in files: i32. */
  readonly #indices: Tensor;
  readonly #lora: AddedLora | null;
  /** Positions as i64, computed on first use. */
  #places: Tensor | null = null;

  constructor(
    private readonly target: Linear,
    private readonly options: Options,
    parameters: ModuleParameters,
  ) {
    const { sparsity, select_top: largest, init_weights: init } = options;
    const n = count(sparsity, target);
    this.#values = init ? parameters.zeros(VALUES, [n]) : parameters.normal(VALUES, [n], 1);
    const places = (): Tensor =>
      noGrad(() => {
        const sizes = reshape(sizesOf(target.weight.dense()), [-1]);
        return to(topk(sizes, n, -1, largest).indices, 'i32');
      });
    this.#indices = parameters.indices(INDICES, places);
    // the order of equal sizes is undefined and may differ between devices
    parameters.remember(INDICES, this.#indices);
    this.#lora = loraOf(target, options, parameters);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => {
      const delta = transpose(this.#delta(x.dtype), 0, 1);
      const changed = (ctx.alone ? addmm_ : addmm)(y, x, delta);
      if (!this.#lora) return changed;
      const { a, b, scale: alpha } = this.#lora;
      const { lora_dropout: p } = this.options;
      const key = { ...ctx.key, site: ctx.module };
      const seen = ctx.training && p > 0 ? counterDropout(x, p, key) : x;
      const low = linear(seen, to(a, x.dtype));
      return addmm_(changed, low, transpose(to(b, x.dtype), 0, 1), { alpha });
    });
  }

  merged(weight: Tensor): Merged {
    const changed = add(weight, this.#delta('f32'));
    if (!this.#lora) return { weight: changed };
    const { a, b, scale: alpha } = this.#lora;
    return { weight: addmm(changed, b, a, { alpha }) };
  }

  loaded(file: NamedTensors): void {
    this.dispose();
    const { path, outFeatures, inFeatures } = this.target;
    const indices = file.get(`${path}.${INDICES}`) as Tensor;
    const places = tidy(() => to(indices, 'i32').toArray() as Int32Array);
    if (places.every((at) => at >= 0 && at < outFeatures * inFeatures)) return;
    const message = `the adapter's ${INDICES} of ${path} are outside its weight, which is ${outFeatures} by ${inFeatures}`;
    throw new DomainError('invalid_adapter', message);
  }

  dispose(): void {
    this.#places?.dispose();
    this.#places = null;
  }

  #delta(dtype: Dtype): Tensor {
    this.#places ??= noGrad(() => keep(to(this.#indices, 'i64')));
    return scattered(to(this.#values, dtype), this.#places, this.target);
  }
}

function loraOf(
  { inFeatures, outFeatures }: Size,
  { r, lora_alpha: alpha, init_weights: init }: Options,
  parameters: ModuleParameters,
): AddedLora | null {
  if (r === null) return null;
  const a = parameters.uniform(A, [r, inFeatures], 1 / Math.sqrt(inFeatures));
  const b = init
    ? parameters.zeros(B, [outFeatures, r])
    : parameters.uniform(B, [outFeatures, r], 1 / Math.sqrt(r));
  return { a, b, scale: (alpha ?? 2 * r) / r };
}
