/**
 * LoKr, arXiv:2309.14859: the update is a Kronecker product of a small and a larger matrix.
 *   y = x Wᵀ + b + s x ΔWᵀ      ΔW = C ⊗ D,  s = α/r        ΔW[l·k + k', m·n + n'] = C[l, m] D[k', n']
 * x: [N, in]  W, ΔW: [out, in]  C: [l, m]  D: [k, n],  out = l k, in = m n. If r is small compared with their sizes, D
 * and (with decompose_both) C are products of two thin matrices of rank r. PEFT computes the full ΔW; here x, as [N, m,
 * n], is multiplied by D and C in the cheaper order. All parts are f32; products with x are computed in its dtype.
 * For a convolution over time whose D [k, n/w, w] is a full matrix, PEFT's ΔW is not a Kronecker product: it has the
 * values of C ⊗ D in the order (k, l, n, m, w), read as [out, in, w]. Files mean that ΔW, so it is computed in full.
 * For a convolution with use_effective_conv2d, a thin D combines T [r, r, w] with both: D[k', n', w'] = Σ A[i, k'] B[j,
 * n'] T[i, j, w'].
 * In training, rank_dropout drops rows of ΔW and, with rank_dropout_scale, rescales the rest; module_dropout drops the
 * whole update.
 */
import { add, linear, matmul, mul, reshape, tidy, to, transpose, unsqueeze } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { LinearContext } from '../nn/layers/linear.js';
import type { LinearShape } from '../nn/outline/outline.js';
import { checkLayers, rank } from './frame/fields.js';
import { linearMethod } from './frame/linear-method.js';
import { numbersIn } from './frame/linear-sizes.js';
import type { LinearUpdate, Merged } from './frame/linear-method.js';
import { flat } from './lora/lora-convolution.js';
import { alphasOf, isLeftOut, keptRows, lycorisFields, ranksOf } from './parts/lycoris.js';
import type { ModuleParameters, PartShapes } from './frame/parameters.js';

/** Value of a factor that selects factors near the square root of a size. */
const BALANCED = -1;

const Options = z
  .strictObject({
    r: rank.default(8).describe('Rank of the decomposed factors'),
    ...lycorisFields,
    rank_dropout_scale: z
      .boolean()
      .default(false)
      .describe('Rescale the rows kept by rank_dropout'),
    decompose_both: z
      .boolean()
      .default(false)
      .describe(
        'Also decompose the smaller matrix (left Kronecker factor), if r is less than half its size',
      ),
    decompose_factor: z
      .int()
      .min(BALANCED)
      .refine((factor) => factor !== 0, 'expected -1 or an integer ≥ 1, got 0')
      .default(BALANCED)
      .describe('Size of the smaller matrix. -1: close to the square root of the layer size'),
    use_effective_conv2d: z
      .boolean()
      .default(false)
      .describe(
        'Decompose convolution kernels separately from the channels, with fewer parameters',
      ),
    init_weights: z
      .union([z.boolean(), z.enum(['lycoris'])])
      .default(true)
      .describe(
        'true: the smaller matrix is initialized to zero; "lycoris": the larger one is; false: randomly, for tests',
      ),
  })
  .superRefine(checkLayers);
type Options = z.infer<typeof Options>;

export const lokr = linearMethod<Options>({
  name: 'LOKR',
  title: 'LoKr',
  summary:
    'Low-rank Kronecker product of a small and a larger matrix: full rank with few parameters, and smaller files than LoRA.',
  paper: 'https://arxiv.org/abs/2309.14859',
  // from PEFT's comparison of methods, with the default factor
  relativeSize: 0.01,
  defaultLearningRate: 1e-3,
  trainingOnly: ['rank_dropout', 'rank_dropout_scale', 'module_dropout'],
  options: Options,
  unsupported: {},
  convertsToLora: true,
  tensors: {
    lokr_w1: 'parameter',
    lokr_w1_a: 'parameter',
    lokr_w1_b: 'parameter',
    lokr_w2: 'parameter',
    lokr_w2_a: 'parameter',
    lokr_w2_b: 'parameter',
    lokr_t2: 'parameter',
  },
  defaultTargets: () => ['q', 'v'],
  conv1d: false,
  convolutions: [1, 2],
  check(options) {
    ranksOf(options);
    alphasOf(options);
  },
  // the result between D and C, as computed and in the layout of the next product
  held(targets, options) {
    const rankOf = ranksOf(options);
    const isWhole = (one: LinearShape): boolean =>
      isReordered(one, partsOf(options, one, rankOf(one.path)));
    const products = targets.filter((one) => !isWhole(one));
    return {
      // ΔW, in the base's dtype and as computed
      numbers: 2 * numbersIn(targets.filter(isWhole)),
      perRow: products.reduce((sum, one) => sum + 2 * between(factorsOf(options, one)), 0),
    };
  },
  shapes(options) {
    const rankOf = ranksOf(options);
    return (linear) => partsOf(options, linear, rankOf(linear.path));
  },
  adapt(options) {
    const [rankOf, alphaOf] = [ranksOf(options), alphasOf(options)];
    return (target, parameters) => {
      const r = rankOf(target.path);
      const shapes = partsOf(options, target, r);
      return new LokrLinear(target, options, make(shapes, options, parameters), {
        scale: alphaOf(target.path) / r,
        factors: factorsOf(options, target),
        window: isReordered(target, shapes) ? (target.kernel?.[1] as number) : null,
      });
    };
  },
});

type Size = Pick<LinearShape, 'inFeatures' | 'outFeatures' | 'kernel'>;

interface Factors {
  readonly l: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

function factorsOf(
  { decompose_factor: factor }: Options,
  { inFeatures, outFeatures, kernel }: Size,
): Factors {
  const [l, k] = factored(outFeatures, factor);
  // a convolution splits its channels; their windows belong to D
  const channels = kernel ? (kernel[0] as number) : inFeatures;
  const [m, n] = factored(channels, factor);
  return { l, m, k, n: (n * inFeatures) / channels };
}

/** Whether x is multiplied by D before C. */
const isLargeFirst = ({ l, m, k, n }: Factors): boolean => m * k * (n + l) <= l * n * (m + k);

/** Size of a row after the first of the two products. */
const between = (factors: Factors): number =>
  isLargeFirst(factors) ? factors.m * factors.k : factors.l * factors.n;

/**
 * PEFT's two factors of a size: the given one if it divides the size, otherwise the largest divisor that exceeds
 * neither it nor the square root.
 */
export function factored(size: number, factor: number): [number, number] {
  if (factor > 0 && size % factor === 0) return [factor, size / factor];
  let small = 1;
  for (let n = 2; n * n <= size && (factor === BALANCED || n <= factor); n++)
    if (size % n === 0) small = n;
  return [small, size / small];
}

function partsOf(options: Options, linear: Size, r: number): PartShapes {
  const { l, m, k, n } = factorsOf(options, linear);
  const window = linear.kernel?.slice(1) ?? [];
  const places = window.reduce((product, side) => product * side, 1);
  const isThin = (rows: number, columns: number): boolean => r < Math.max(rows, columns) / 2;
  return {
    ...(options.decompose_both && isThin(l, m)
      ? { lokr_w1_a: [l, r], lokr_w1_b: [r, m] }
      : { lokr_w1: [l, m] }),
    ...(!isThin(k, n / places)
      ? { lokr_w2: window.length > 0 ? [k, n / places, ...window] : [k, n] }
      : options.use_effective_conv2d && places > 1
        ? {
            // PEFT adds a second side of 1 for one-dimensional convolutions
            lokr_t2: [r, r, ...window, ...(window.length === 1 ? [1] : [])],
            lokr_w2_a: [r, k],
            lokr_w2_b: [r, n / places],
          }
        : { lokr_w2_a: [k, r], lokr_w2_b: [r, n] }),
  };
}

/** Whether PEFT's ΔW differs from C ⊗ D. */
const isReordered = ({ kernel }: Size, parts: PartShapes): boolean =>
  kernel?.length === 2 && 'lokr_w2' in parts;

/** Creates the parts. One of each pair starts at zero, so that ΔW starts at zero. */
function make(
  shapes: PartShapes,
  { init_weights: init }: Options,
  parameters: ModuleParameters,
): ReadonlyMap<string, Tensor> {
  const zero = init === 'lycoris' ? ['lokr_w2', 'lokr_w2_b'] : ['lokr_w1', 'lokr_w1_a'];
  const starts = (part: string): boolean => init !== false && zero.includes(part);
  return new Map(
    Object.entries(shapes).map(([part, shape]) => [
      part,
      starts(part)
        ? parameters.zeros(part, shape)
        : parameters.uniform(part, shape, 1 / Math.sqrt(fanIn(shape))),
    ]),
  );
}

const fanIn = ([, ...shape]: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** LoKr update of one linear layer. */
class LokrLinear implements LinearUpdate {
  readonly #scale: number;
  readonly #factors: Factors;
  /** Size of the window if ΔW is in PEFT's order, otherwise null. */
  readonly #window: number | null;

  constructor(
    private readonly target: Size,
    private readonly options: Options,
    private readonly parts: ReadonlyMap<string, Tensor>,
    {
      scale,
      factors,
      window,
    }: { readonly scale: number; readonly factors: Factors; readonly window: number | null },
  ) {
    this.#scale = scale;
    this.#factors = factors;
    this.#window = window;
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { rank_dropout: rows, module_dropout: whole, rank_dropout_scale: weighed } = this.options;
    const { outFeatures } = this.target;
    if (ctx.training && whole > 0 && isLeftOut(ctx, whole, outFeatures)) return y;
    return tidy(() => {
      const update = this.#product(x);
      if (!ctx.training || rows === 0) return add(y, update, this.#scale);
      const kept = to(keptRows(ctx, rows, outFeatures, weighed), x.dtype);
      return add(y, mul(update, kept), this.#scale);
    });
  }

  merged(weight: Tensor): Merged {
    return { weight: add(weight, this.#matrix(), this.#scale) };
  }

  /** ΔW: [out, in] */
  #matrix(): Tensor {
    const [c, d] = [this.#part('lokr_w1'), this.#part('lokr_w2')];
    const { l, m, k, n } = this.#factors;
    const window = this.#window;
    const whole =
      window === null
        ? mul(unsqueeze(unsqueeze(c, 1), 3), unsqueeze(unsqueeze(d, 0), 2)) // [l, 1, m, 1] · [1, k, 1, n]
        : mul(reshape(c, [1, l, 1, m, 1]), reshape(d, [k, 1, n / window, 1, window]));
    return reshape(whole, [l * k, m * n]);
  }

  /** x ΔWᵀ */
  #product(x: Tensor): Tensor {
    if (this.#window !== null) return linear(x, to(this.#matrix(), x.dtype));
    const { m, n } = this.#factors;
    const blocks = reshape(x, [x.shape[0] as number, m, n]);
    const c = to(this.#part('lokr_w1'), x.dtype);
    const d = transpose(to(this.#part('lokr_w2'), x.dtype), 0, 1);
    const product = isLargeFirst(this.#factors)
      ? matmul(c, matmul(blocks, d))
      : matmul(matmul(c, blocks), d);
    return reshape(product, [x.shape[0] as number, this.target.outFeatures]);
  }

  /** Returns a factor, or the product of the two matrices that it is decomposed into. */
  #part(name: string): Tensor {
    const whole = this.parts.get(name);
    if (whole) return flat(whole);
    const [a, b] = [this.parts.get(`${name}_a`) as Tensor, this.parts.get(`${name}_b`) as Tensor];
    const core = name === 'lokr_w2' ? this.parts.get('lokr_t2') : undefined;
    return core ? convolved(core, a, b) : matmul(a, b);
  }
}

/** Returns D: [k, n w] from T: [r, r, …w], A: [r, k] and B: [r, n]. */
function convolved(core: Tensor, a: Tensor, b: Tensor): Tensor {
  const [[r, k], n] = [a.shape as [number, number], b.shape[1] as number];
  const byOutput = reshape(matmul(transpose(a, 0, 1), flat(core)), [k, r, -1]);
  return reshape(transpose(matmul(transpose(byOutput, 1, 2), b), 1, 2), [
    k,
    n * (core.size / r ** 2),
  ]);
}
