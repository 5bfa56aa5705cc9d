/**
 * SHiRA, arXiv:2406.13175: trains a few values of each weight, at positions sampled once.
 *   y = x Wᵀ + b + x ΔWᵀ      ΔW[i_k, j_k] = w_k, else 0      r (in + out) positions, as many as LoRA of rank r trains
 * x: [n, in]  W, ΔW: [out, in]  w: [r (in + out)], f32; the product with x is computed in its dtype. The positions are
 * the first of PyTorch's random permutation, the same for all weights of a size, in the order of the weight; files
 * store them. PEFT adds ΔW to W in the base's dtype, which loses small changes in bf16; here it is a separate product.
 */
import {
  add,
  add_,
  addmm,
  addmm_,
  keep,
  mul,
  noGrad,
  select,
  tensor,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { fanInFanOut, modulesToSave, rank, targetNames } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { NamedTensors } from './method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { placesIn, scattered } from './parts/spectrum.js';
import { DEFAULT_SEED, TorchGenerator } from './reference-math/torch-generator.js';

const Options = z.strictObject({
  r: rank
    .default(32)
    .describe(
      'Sets the number of trainable parameters to that of a LoRA with this rank. The rank of the update is not limited',
    ),
  mask_type: z
    .enum(['random'])
    .default('random')
    .describe('How the trainable positions (the sparse mask) are chosen'),
  random_seed: z
    .int()
    .nullable()
    .default(null)
    .describe('Random seed of the mask. Default (null): the default seed of PyTorch'),
  target_modules: targetNames('query and value projections'),
  fan_in_fan_out: fanInFanOut,
  init_weights: z
    .boolean()
    .default(true)
    .describe('true: the adapter is initialized to a no-op; false: randomly, for tests'),
  modules_to_save: modulesToSave,
});
type Options = z.infer<typeof Options>;

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures'>;

export const shira = linearMethod<Options>({
  name: 'SHIRA',
  title: 'SHiRA',
  summary:
    'Trains a sparse set of the entries of each weight: high rank, and adapters interfere little when combined.',
  paper: 'https://arxiv.org/abs/2406.13175',
  // from PEFT's comparison of methods
  relativeSize: 0.38,
  defaultLearningRate: 3e-4,
  options: Options,
  unsupported: {},
  tensors: { shira_weight: 'parameter', shira_indices: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  // ΔW as the product uses it, and the positions
  held: (targets, { r }) => ({
    numbers: targets.reduce(
      (sum, { inFeatures, outFeatures }) => sum + 4 * r * (inFeatures + outFeatures),
      numbersIn(targets),
    ),
  }),
  shapes:
    ({ r }) =>
    (linear) => ({ shira_weight: [count(r, linear)] }),
  adapt(options) {
    const placesOf = drawn(options);
    return (linear, parameters) => new ShiraLinear(linear, options, placesOf(linear), parameters);
  },
});

/**
 * Returns the number of trained values. @throws DomainError if PEFT rejects the rank, or if a linear layer is too large
 */
function count(r: number, linear: Size): number {
  const { path, inFeatures, outFeatures } = linear;
  const [wanted, there] = [r * (inFeatures + outFeatures), placesIn(linear)];
  if (wanted <= there) return wanted;
  const message = `r = ${r} requires ${wanted} trainable parameters in ${path}, which has only ${there}; lower r`;
  throw new DomainError('invalid_value', message, 'peft.r');
}

/** Positions by size, [2, n]; those of a size are sampled once. */
function drawn({ r, random_seed: seed }: Options): (linear: Size) => Int32Array {
  const known = new Map<string, Int32Array>();
  return (linear) => {
    const { inFeatures, outFeatures } = linear;
    const size = `${outFeatures} ${inFeatures}`;
    const made = known.get(size) ?? places(linear, count(r, linear), seed ?? DEFAULT_SEED);
    known.set(size, made);
    return made;
  };
}

function places({ inFeatures, outFeatures }: Size, n: number, seed: number): Int32Array {
  const flat = new TorchGenerator(seed).permutation(inFeatures * outFeatures, n).sort();
  return Int32Array.from({ length: 2 * n }, (_, i) => {
    const place = flat[i % n] as number;
    return i < n ? Math.floor(place / inFeatures) : place % inFeatures;
  });
}

/** SHiRA update of one linear layer. */
class ShiraLinear implements LinearUpdate {
  readonly #weight: Tensor;
  /** [2, n], rows and columns. */
  readonly #indices: Tensor;
  /** Positions in the flattened weight, computed on first use. */
  #flat: Tensor | null = null;

  constructor(
    private readonly target: Size,
    { init_weights: init }: Options,
    indices: Int32Array,
    parameters: ModuleParameters,
  ) {
    const n = indices.length / 2;
    this.#weight = init
      ? parameters.zeros('shira_weight', [n])
      : parameters.normal('shira_weight', [n], 1);
    this.#indices = parameters.indices('shira_indices', () => tensor(indices, [2, n]));
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => (ctx.alone ? addmm_ : addmm)(y, x, transpose(this.#delta(x.dtype), 0, 1)));
  }

  merged(weight: Tensor): Merged {
    return { weight: add(weight, this.#delta('f32')) };
  }

  loaded(file: NamedTensors): void {
    this.dispose();
    const { path, outFeatures, inFeatures } = this.target;
    const indices = file.get(`${path}.shira_indices`) as Tensor;
    const places = tidy(() => to(indices, 'i32').toArray() as Int32Array);
    const n = places.length / 2;
    if (places.every((at, i) => at >= 0 && at < (i < n ? outFeatures : inFeatures))) return;
    const message = `the adapter's shira_indices of ${path} are outside its weight, which is ${outFeatures} by ${inFeatures}`;
    throw new DomainError('invalid_adapter', message);
  }

  dispose(): void {
    this.#flat?.dispose();
    this.#flat = null;
  }

  #delta(dtype: Dtype): Tensor {
    const flat = (this.#flat ??= this.#flattened());
    return scattered(to(this.#weight, dtype), flat, this.target);
  }

  #flattened(): Tensor {
    return noGrad(() =>
      keep(
        tidy(() => {
          const [rows, columns] = [0, 1].map((i) => to(select(this.#indices, 0, i), 'i64')) as [
            Tensor,
            Tensor,
          ];
          return add_(mul(rows, this.target.inFeatures), columns);
        }),
      ),
    );
  }
}
