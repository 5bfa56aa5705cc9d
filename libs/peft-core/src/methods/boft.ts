/**
 * BOFT, arXiv:2311.06243, with one factor, as PEFT computes it on a CPU: rotates the input of a linear layer and scales
 * its output.
 *   y = s ⊙ (x R) Wᵀ + b      R = diag(R₁ … R_k),  Rᵢ = (I + Q)⁻¹ (I - Q),  Q = (T - Tᵀ)/2
 * x: [n, in]  W: [out, in]  T: [1, k, size, size]  s: [out, 1]. Rotations are computed in f32 and, like x R, rounded to
 * x's dtype; s is f32. In training, boft_dropout replaces a share of the blocks by the identity.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  counterUniform,
  eye,
  gt,
  mul,
  narrow,
  sort,
  sub,
  tidy,
  to,
  transpose,
  view,
  where,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { RowContext } from '../nn/context.js';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import {
  checkLayers,
  fanInFanOut,
  layerFields,
  modulesToSave,
  targetFields,
  trainedBiases,
} from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { inputsOf, outputsOf } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import { normal } from '../nn/random-init.js';
import type { ModuleParameters } from './frame/parameters.js';
import { cayley, rotationNumbers, turnBlocks } from './parts/rotations.js';
import type { Blocks } from './parts/rotations.js';

const Options = z
  .strictObject({
    boft_block_size: z
      .int()
      .min(0)
      .default(4)
      .describe('BOFT block size. Must divide the input size of every target module'),
    boft_block_num: z
      .int()
      .min(0)
      .default(0)
      .describe(
        'Number of BOFT blocks per layer, instead of boft_block_size (which must then be 0)',
      ),
    boft_dropout: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe(
        'Multiplicative dropout: probability that a block is replaced by the identity during training',
      ),
    ...targetFields('query and value projections'),
    bias: trainedBiases('boft_only'),
    modules_to_save: modulesToSave,
    init_weights: z
      .boolean()
      .default(true)
      .describe('true: rotations are initialized to the identity; false: randomly, for tests'),
    ...layerFields,
    fan_in_fan_out: fanInFanOut,
  })
  .superRefine(checkLayers)
  .superRefine(({ boft_block_size: size, boft_block_num: count }, ctx) => {
    if ((size === 0) !== (count === 0)) return;
    const message =
      size === 0
        ? 'boft_block_size or boft_block_num must be above 0'
        : `expected either boft_block_size or boft_block_num, got ${size} and ${count}: set the other to 0`;
    ctx.addIssue({ code: 'custom', message, path: ['boft_block_size'] });
  });
type Options = z.infer<typeof Options>;

export const boft = linearMethod<Options>({
  name: 'BOFT',
  title: 'BOFT',
  summary: 'Multiplies weights by block-wise butterfly rotations and scales their outputs.',
  paper: 'https://arxiv.org/abs/2311.06243',
  // PEFT's comparison of methods uses 1e-4, its own example for DINOv2 5e-5
  relativeSize: 0.03,
  defaultLearningRate: 1e-4,
  trainingOnly: ['boft_dropout'],
  options: Options,
  // in PEFT more than one factor needs a CUDA extension and behaves as one factor without it
  unsupported: { boft_n_butterfly_factor: 1 },
  tensors: { boft_R: 'parameter', boft_s: 'parameter' },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  convolutions: [2],
  // x split into blocks, and the scaled output
  held: (targets, options) => ({
    numbers: targets.reduce(
      (sum, linear) => sum + rotationNumbers(blocksOf(options, linear), null),
      0,
    ),
    perRow: 2 * inputsOf(targets) + outputsOf(targets),
  }),
  shapes: (options) => (linear) => {
    const { blocks, size } = blocksOf(options, linear);
    return { boft_R: [1, blocks, size, size], boft_s: scalesOf(linear) };
  },
  adapt: (options) => (linear, parameters) => new BoftLinear(options, linear, parameters),
});

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures' | 'kernel'>;

/** Shape of the scales; PEFT transposes it for convolutions. */
const scalesOf = ({ outFeatures, kernel }: Size): number[] =>
  kernel ? [1, outFeatures] : [outFeatures, 1];

/** Returns the number of blocks and their size. @throws DomainError if PEFT rejects the sizes */
function blocksOf(
  { boft_block_size: size, boft_block_num: count }: Options,
  { path, inFeatures }: Size,
): Blocks {
  const divisor = size || count;
  if (inFeatures % divisor === 0)
    return size ? { blocks: inFeatures / size, size } : { blocks: count, size: inFeatures / count };
  const field = size ? 'boft_block_size' : 'boft_block_num';
  const message = `${field} must divide the ${inFeatures} inputs of ${path}, got ${divisor}`;
  throw new DomainError('invalid_value', message, `peft.${field}`);
}

class BoftLinear implements LinearUpdate {
  readonly #blocks: Blocks;
  readonly #turns: Tensor;
  readonly #scales: Tensor;

  constructor(
    private readonly options: Options,
    linear: Size,
    parameters: ModuleParameters,
  ) {
    this.#blocks = blocksOf(options, linear);
    const { blocks, size } = this.#blocks;
    const [turns, scales] = [[1, blocks, size, size], scalesOf(linear)];
    const { init_weights: neutral } = options;
    this.#turns = neutral
      ? parameters.zeros('boft_R', turns)
      : parameters.normal('boft_R', turns, 0.1);
    this.#scales = neutral
      ? parameters.ones('boft_s', scales)
      : parameters.parameter('boft_s', (name, seed) => add(normal(scales, 0.1, seed, name), 1));
  }

  before(x: Tensor, ctx: RowContext): Tensor {
    return tidy(() => turnBlocks(x, to(this.#kept(this.#rotation(), ctx), x.dtype), this.#blocks));
  }

  after(y: Tensor, _x: Tensor, { bias }: LinearContext): Tensor {
    return tidy(() => {
      const scaled = mul(bias ? sub(y, bias) : y, view(this.#scales, [-1]));
      return to(bias ? add(scaled, bias) : scaled, y.dtype);
    });
  }

  merged(weight: Tensor): Merged {
    const turned = turnBlocks(weight, transpose(this.#rotation(), 1, 2), this.#blocks);
    return { weight: mul(turned, view(this.#scales, [-1, 1])) };
  }

  /** R's blocks: [k, size, size] */
  #rotation(): Tensor {
    const { blocks, size } = this.#blocks;
    const t = view(this.#turns, [blocks, size, size]);
    return cayley(mul(sub(t, transpose(t, 1, 2)), 0.5));
  }

  /** Drops the same number of blocks each time, chosen at random. */
  #kept(rotation: Tensor, { training, key, module }: RowContext): Tensor {
    const { blocks, size } = this.#blocks;
    const count = Math.floor(this.options.boft_dropout * blocks);
    if (!training || count === 0) return rotation;
    const drawn = counterUniform([blocks], { ...key, site: module });
    const last = narrow(sort(drawn).values, 0, count - 1, 1);
    return where(view(gt(drawn, last), [-1, 1, 1]), rotation, eye(size));
  }
}
