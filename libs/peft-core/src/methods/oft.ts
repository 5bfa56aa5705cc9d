/**
 * OFT, arXiv:2306.07280; in this form, on the input and with the Neumann series, arXiv:2506.19847. It rotates the input
 * of a linear layer, which keeps the angles between neurons.
 *   y = (x R) Wᵀ + b      R = diag(R₁ … R_k), k blocks of size s
 * Rᵢ is the Cayley transform of a skew matrix Q = T - Tᵀ; T's values above the diagonal are trained:
 *   Rᵢ = (I + Q)⁻¹ (I - Q),   or with use_cayley_neumann   Rᵢ = I + 2 (Q + … + Qᵗ⁻²) + Qᵗ⁻¹, t terms
 * The second is close to the transpose of the first, as in PEFT. With coft each block keeps ‖Q‖ ≤ ε/√k: the parameter
 * itself is projected before each training forward pass. x: [n, in]  W: [out, in]  trained: [k, s (s-1)/2], or [1, s
 * (s-1)/2] if the blocks share it. Everything is f32; x R is rounded to x's dtype.
 */
import {
  copy_,
  div,
  gt,
  keep,
  mul,
  noGrad,
  norm,
  tidy,
  to,
  transpose,
  upperIndices,
  where,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { RowContext } from '../nn/context.js';
import {
  checkLayers,
  fanInFanOut,
  layerFields,
  modulesToSave,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import type { ModuleParameters } from './frame/parameters.js';
import { cayley, neumann, rotationNumbers, skew, turnBlocks } from './parts/rotations.js';
import type { Blocks } from './parts/rotations.js';
import { ALL_LINEAR } from './targets/targets.js';

const Options = z
  .strictObject({
    r: z
      .int()
      .min(0)
      .default(0)
      .describe(
        'OFT rank: number of blocks per layer, instead of oft_block_size (which must then be 0)',
      ),
    oft_block_size: z
      .int()
      .min(0)
      .default(32)
      .describe('OFT block size, adjusted to the nearest divisor of the input size of a layer'),
    use_cayley_neumann: z
      .boolean()
      .default(true)
      .describe(
        'Use the Cayley-Neumann series instead of a matrix inverse: faster, approximately orthogonal',
      ),
    num_cayley_neumann_terms: z
      .int()
      .min(2)
      .max(64)
      .default(5)
      .describe('Number of terms of the Cayley-Neumann series'),
    block_share: z
      .boolean()
      .default(false)
      .describe('Share one rotation between all blocks of a layer'),
    coft: z.boolean().default(false).describe('Constrained OFT: bound the size of the rotations'),
    eps: z
      .number()
      .positive()
      .default(6e-5)
      .describe('Control strength of COFT: maximum rotation of a block'),
    ...targetFields('query and value projections'),
    bias: trainedBiases('oft_only'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: rotations are initialized to the identity; false: randomly, for tests'),
    ...layerFields,
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers)
  .superRefine(({ r, oft_block_size: size }, ctx) => {
    if ((r === 0) !== (size === 0)) return;
    const message =
      r === 0
        ? 'oft_block_size or r must be above 0'
        : `expected either r or oft_block_size, got r ${r} and oft_block_size ${size}: set the other to 0`;
    ctx.addIssue({ code: 'custom', message, path: ['oft_block_size'] });
  });
type Options = z.infer<typeof Options>;

export const oft = linearMethod<Options>({
  name: 'OFT',
  title: 'OFT',
  summary:
    'Multiplies weights by block-wise orthogonal rotations, which preserve the pretrained angles between neurons.',
  paper: 'https://arxiv.org/abs/2306.07280',
  // OFT v2's for Llama 2, and in the range of PEFT's comparison of methods
  relativeSize: 0.11,
  defaultLearningRate: 2e-4,
  tried: [{ target_modules: ALL_LINEAR }],
  options: Options,
  // PEFT has the field and never reads it
  unsupported: { module_dropout: 0 },
  tensors: { oft_R: 'module' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  noConvolutions:
    'in PEFT it is not a no-op at initialization there, and merging changes the result',
  // x in f32, which may take two values of its own dtype, and x split into blocks
  held: (targets, options) => ({
    numbers: targets.reduce((sum, linear) => sum + ownNumbers(options, linear), 0),
    perRow: 4 * inputsOf(targets),
  }),
  shapes: (options) => (linear) => {
    const { blocks, size } = blocksOf(options, linear);
    return { oft_R: [options.block_share ? 1 : blocks, (size * (size - 1)) / 2] };
  },
  adapt: (options) => (linear, parameters) =>
    new OftLinear(options, blocksOf(options, linear), parameters),
});

/** Division of the inputs of a linear layer into blocks. */
function blocksOf(
  { r, oft_block_size: size }: Options,
  { inFeatures }: { readonly inFeatures: number },
): Blocks {
  const divisor = nearestDivisor(inFeatures, r || size);
  const other = inFeatures / divisor;
  return r ? { blocks: divisor, size: other } : { blocks: other, size: divisor };
}

function ownNumbers(options: Options, linear: { readonly inFeatures: number }): number {
  const { block_share: isShared, use_cayley_neumann: isSeries } = options;
  const { blocks, size } = blocksOf(options, linear);
  const terms = isSeries ? options.num_cayley_neumann_terms : null;
  return rotationNumbers({ blocks: isShared ? 1 : blocks, size }, terms);
}

/** The divisor of `whole` nearest to `wanted`; of two equally near, the smaller. */
function nearestDivisor(whole: number, wanted: number): number {
  if (wanted >= whole) return whole;
  const divides = (n: number): boolean => whole % n === 0;
  let distance = 0;
  while (!divides(wanted - distance) && !divides(wanted + distance)) distance++;
  return divides(wanted - distance) ? wanted - distance : wanted + distance;
}

/** Rotation of the input of one linear layer. */
class OftLinear implements LinearUpdate {
  readonly #angles: Tensor;
  /** Rows and columns of the positions above a block's diagonal. */
  readonly #places: Tensor;

  constructor(
    private readonly options: Options,
    private readonly blocks: Blocks,
    parameters: ModuleParameters,
  ) {
    const { size } = blocks;
    const shape = [options.block_share ? 1 : blocks.blocks, (size * (size - 1)) / 2];
    this.#angles = options.init_weights
      ? parameters.zeros('oft_R', shape)
      : parameters.normal('oft_R', shape, 0.1);
    this.#places = keep(upperIndices(size));
  }

  before(x: Tensor, { training }: RowContext): Tensor {
    return tidy(() => to(turnBlocks(to(x, 'f32'), this.#rotation(training), this.blocks), x.dtype));
  }

  merged(weight: Tensor): Merged {
    return { weight: turnBlocks(weight, transpose(this.#rotation(false), 1, 2), this.blocks) };
  }

  dispose(): void {
    this.#places.dispose();
  }

  /** R: [k or 1, s, s] */
  #rotation(training: boolean): Tensor {
    const { use_cayley_neumann: isSeries, num_cayley_neumann_terms: terms } = this.options;
    const q = skew(this.#used(training), this.#places, this.blocks.size);
    return isSeries ? neumann(q, terms) : cayley(q);
  }

  /** Returns the parameter. COFT projects it in place before training; no autograd graph holds its values then. */
  #used(training: boolean): Tensor {
    const { coft, eps } = this.options;
    if (!coft) return this.#angles;
    return noGrad(() => {
      const short = shortened(this.#angles, eps);
      return training ? copy_(this.#angles, short) : short;
    });
  }
}

/** Scales blocks with ‖Q‖ > ε/√k to that norm. */
function shortened(above: Tensor, eps: number): Tensor {
  const longest = eps / Math.sqrt(above.shape[0] as number);
  // each value occurs twice in Q
  const length = mul(norm(above, 2, 1, true), Math.SQRT2);
  return where(gt(length, longest), div(mul(above, longest), length), above);
}
