/**
 * LoRA of a linear layer, with DoRA and aLoRA.
 *   LoRA   arXiv:2106.09685.  y = x Wᵀ + b + s (x Aᵀ) Bᵀ          s = α/r, or α/√r (rank-stabilized, arXiv:2312.03732)
 *   DoRA   arXiv:2402.09353.  y = g ⊙ (x Wᵀ + s (x Aᵀ) Bᵀ) + b    g = m / n,  n = ‖W + s B A‖ by row, no gradient
 *   x: [n, in]  W: [out, in]  A: [r, in]  B: [out, r]  m, n, b, b': [out]
 * aLoRA, arXiv:2504.12397, acts on the rows from its invocation tokens on (nn/sites/invocation.ts). An update with a
 * bias (lora_bias) adds s b'. lora-init.ts describes how A and B start and what is subtracted from W; lora-variants.ts
 * has factors with blocks or a diagonal between them; lora-monteclora.ts samples A.
 * Dropout acts on A's input x; with DoRA also on the x of g ⊙. A, B and m are f32, or A and B have x's dtype once they
 * no longer train; products are computed in x's dtype.
 */
import {
  add,
  addmm,
  addmm_,
  blockDiagonal,
  cat,
  chunk,
  counterDropout,
  div,
  keep,
  linear,
  matmul,
  mul,
  noGrad,
  reshape,
  sqrt,
  square,
  sub,
  sum,
  tidy,
  to,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Dtype, LowRank, Tensor } from '@graft/kernels';
import type { z } from 'zod';
import type { RowContext } from '../../nn/context.js';
import type { Linear, LinearContext } from '../../nn/layers/linear.js';
import type { Weight } from '../../nn/weight.js';
import type { Freezable } from '../frame/freezable.js';
import type { LinearUpdate, Merged } from '../frame/linear-method.js';
import { checkConvolution, flat, magnitudeShape } from './lora-convolution.js';
import { MonteClora } from './lora-monteclora.js';
import type { Count, MonteCloraConfig } from './lora-monteclora.js';
import { makeFactors } from './lora-init.js';
import type { Factors, LoftqConfig, LoraInit, LoraSize } from './lora-init.js';
import {
  blocksOf,
  Compression,
  kasaDiagonal,
  kasaPenalty,
  kasaShapes,
  smallestParts,
} from './lora-variants.js';
import type { bdLora, Blocks, kasa, velora } from './lora-variants.js';
import type { NamedTensors } from '../method.js';
import type { ModuleParameters } from '../frame/parameters.js';

interface Options {
  readonly lora_dropout: number;
  readonly lora_bias: boolean;
  readonly use_dora: boolean;
  readonly init_lora_weights: LoraInit;
  readonly loftq_config: LoftqConfig | null;
  readonly use_bdlora: z.infer<typeof bdLora>;
  readonly kasa_config: z.infer<typeof kasa>;
  readonly velora_config: z.infer<typeof velora>;
  readonly monteclora_config: MonteCloraConfig | null;
  readonly alora_invocation_tokens: readonly number[] | null;
}

/** LoRA update of one linear layer. */
export class LoraLinear implements LinearUpdate {
  #factors: Factors;
  #within: LowRank['within'];
  readonly #bias: Tensor | null;
  readonly #m: Tensor | null;
  readonly #dropout: number;
  /** ‖W‖² by row. DoRA needs it in every step and it never changes. */
  readonly #squares: Tensor | null;
  readonly #blocks: Blocks | null;
  readonly #diagonal: Tensor | null;
  readonly #compression: Compression | null;
  readonly #sampled: MonteClora | null;
  readonly #taken: Factors['taken'];
  /** W [out, in] in f32, or the run's own weight that replaces it. */
  readonly #frozen: () => Tensor;
  /** Whether the update outside training is just s B A x. */
  readonly #isPlain: boolean;
  readonly weight?: (frozen: Weight, dtype: Dtype) => Tensor;
  readonly merged?: (weight: Tensor, bias: Tensor | null) => Merged;
  readonly penalty?: () => Tensor;

  constructor(
    private readonly target: Linear,
    options: Options,
    private readonly size: LoraSize,
    private readonly parameters: ModuleParameters,
    { found, count }: { readonly found?: NamedTensors | undefined; readonly count: Count },
  ) {
    checkConvolution(target, options);
    this.#dropout = options.lora_dropout;
    this.#blocks = blocksOf(target, options.use_bdlora, size.r);
    this.#factors = makeFactors(target, { ...options, found }, size, parameters, this.#blocks);
    const { a, b, taken, weight: own } = this.#factors;
    this.#frozen = own ? () => own : () => target.weight.dense('f32');
    if (own) this.weight = (_, dtype) => to(own, dtype);
    const { kasa_config: kasaConfig } = options;
    if (kasaConfig) kasaShapes(target, size.r);
    const diagonal = kasaConfig && kasaDiagonal(parameters, size.r);
    this.#diagonal = diagonal;
    this.#taken = diagonal ? smallestParts(target, size) : taken;
    if (diagonal) this.penalty = () => kasaPenalty(a, b, diagonal, kasaConfig);
    const { velora_config: compressed } = options;
    this.#compression = compressed && new Compression(target, compressed, parameters);
    const { monteclora_config: sampled } = options;
    const { inFeatures } = target;
    const around = sampled && new MonteClora(sampled, { inFeatures, r: size.r }, parameters, count);
    this.#sampled = around;
    if (around) this.penalty = () => around.penalty();
    this.#bias = options.lora_bias ? biasOf(target, options, size.r, parameters) : null;
    this.#squares = options.use_dora ? this.#ownSquares() : null;
    this.#m = options.use_dora
      ? parameters.parameter('lora_magnitude_vector', () =>
          reshape(this.#norms(), magnitudeShape(target)),
        )
      : null;
    const more = [this.#blocks, diagonal, this.#taken, own, this.#bias, this.#m, target.kernel];
    this.#isPlain = more.every((part) => part === null || part === undefined);
    // no merge of an update with a bias into a layer without one, nor of an update that acts on some rows only
    const acts = options.alora_invocation_tokens === null;
    if (acts && (!this.#bias || target.bias))
      this.merged = (weight, bias) => this.#merged(weight, bias);
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    return tidy(() => {
      const drops = ctx.training && this.#dropout > 0;
      const seen = drops ? counterDropout(x, this.#dropout, { ...ctx.key, site: ctx.module }) : x;
      if (ctx.active) return this.#where(ctx.active, y, seen, ctx.alone);
      if (this.#compression && ctx.training)
        return this.#raised(y, this.#compression.product(seen, this.#a), ctx.alone);
      if (this.#sampled && ctx.training) {
        const around = this.#sampled.around(this.#a, ctx);
        return this.#raised(y, linear(seen, to(around, seen.dtype)), ctx.alone);
      }
      if (!this.#m) return this.#plus(y, seen, x, ctx.alone);
      const g = to(div(this.#magnitudes(this.#m), this.#norms()), x.dtype);
      const { bias } = ctx;
      if (drops) {
        // y = x Wᵀ + b + (g ⊙ (x' Wᵀ + s B A x') - x' Wᵀ),  x' after dropout
        const product = this.weight
          ? linear(seen, this.weight(this.target.weight, seen.dtype))
          : this.target.weight.multiply(seen, null);
        return add(y, sub(mul(this.#plus(product, seen, seen, false), g), product));
      }
      const bare = bias ? sub(y, bias) : y;
      const scaled = mul(this.#plus(bare, x, x, ctx.alone || bias !== null), g);
      return bias ? add(scaled, bias) : scaled;
    });
  }

  lowRank({ active }: RowContext): LowRank | null {
    if (!this.#isPlain || active) return null;
    const { a, b } = this.#factors;
    return { a, b, scale: this.size.scale, ...(this.#within && { within: this.#within }) };
  }

  freezable(): Freezable | null {
    if (!this.#isPlain) return null;
    const { a, b } = this.#factors;
    return {
      factors: { a, b },
      freeze: (rounded) => {
        const put = (part: string, values: Tensor): Tensor => this.parameters.freeze(part, values);
        this.#factors = { a: put('lora_A', rounded.a), b: put('lora_B', rounded.b), taken: null };
        this.#within = rounded.within;
        this.parameters.hold(rounded.within.whole);
      },
    };
  }

  dispose(): void {
    this.#squares?.dispose();
    if (this.#diagonal) [this.#taken?.a, this.#taken?.b].forEach((part) => part?.dispose());
  }

  /** y + s (B A seen + b) on the rows that are 1 in `active`. */
  #where(active: Tensor, y: Tensor, seen: Tensor, mine: boolean): Tensor {
    const low = mul(linear(seen, to(this.#a, seen.dtype)), active);
    return this.#raised(y, low, mine, active);
  }

  /** y + s (B low + b) */
  #raised(y: Tensor, low: Tensor, mine: boolean, active: Tensor | null = null): Tensor {
    const { scale } = this.size;
    const ups = transpose(to(this.#b, y.dtype), 0, 1);
    const first = (mine ? addmm_ : addmm)(y, low, ups, { alpha: scale });
    if (!this.#bias) return first;
    const bias = to(this.#bias, y.dtype);
    return add(first, active ? mul(bias, active) : bias, scale);
  }

  /** output + s (B A seen + b) - s B₀ A₀ x */
  #plus(output: Tensor, seen: Tensor, x: Tensor, mine: boolean): Tensor {
    const [a, b, taken] = [this.#a, this.#b, this.#taken];
    const { scale } = this.size;
    const plus = (sum: Tensor, input: Tensor, down: Tensor, up: Tensor, own: boolean): Tensor => {
      const low = linear(input, to(down, input.dtype));
      const ups = transpose(to(up, input.dtype), 0, 1);
      return (own ? addmm_ : addmm)(sum, low, ups, { alpha: scale });
    };
    const first =
      taken && seen !== x
        ? plus(plus(output, x, taken.a, taken.b, mine), seen, a, b, true)
        : plus(output, seen, this.#down, this.#up, mine);
    return this.#bias ? add(first, to(this.#bias, output.dtype), scale) : first;
  }

  /** A [r, in] */
  get #a(): Tensor {
    const a = flat(this.#factors.a);
    return this.#blocks?.part === 'a' ? blockDiagonal(chunk(a, this.#blocks.count)) : a;
  }

  /** B [out, r], or B diag(d) */
  get #b(): Tensor {
    const b = flat(this.#factors.b);
    if (this.#diagonal) return mul(b, this.#diagonal);
    return this.#blocks?.part === 'b' ? blockDiagonal(chunk(b, this.#blocks.count)) : b;
  }

  /** m [out] */
  #magnitudes(m: Tensor): Tensor {
    return m.shape.length === 1 ? m : reshape(m, [-1]);
  }

  /** [A; A₀] */
  get #down(): Tensor {
    return this.#taken ? cat([this.#a, this.#taken.a]) : this.#a;
  }

  /** [B, -B₀] */
  get #up(): Tensor {
    return this.#taken ? cat([this.#b, this.#taken.b], 1) : this.#b;
  }

  #merged(weight: Tensor, bias: Tensor | null): Merged {
    const { scale } = this.size;
    const own = this.#factors.weight ?? weight;
    const adapted = addmm(own, this.#up, this.#down, { alpha: scale });
    return {
      weight: this.#m
        ? mul(adapted, unsqueeze(div(this.#magnitudes(this.#m), this.#norms()), 1))
        : adapted,
      ...(this.#bias && { bias: add(bias as Tensor, this.#bias, scale) }),
    };
  }

  #ownSquares(): Tensor {
    return noGrad(() => keep(tidy(() => sum(square(this.#frozen()), 1))));
  }

  /**
   * n² = ‖W‖² + 2 s Σ (W Aᵀ) ⊙ B + s² Σ (B (A Aᵀ)) ⊙ B by row. Allocates no f32 tensor of W's size other than W itself.
   */
  #norms(): Tensor {
    return noGrad(() =>
      tidy(() => {
        const [a, b, s] = [this.#down, this.#up, this.size.scale];
        const cross = matmul(this.#frozen(), transpose(a, 0, 1));
        const own = matmul(b, matmul(a, transpose(a, 0, 1)));
        const both = sum(mul(add(mul(cross, 2 * s), own, s * s), b), 1);
        return sqrt(add(this.#squares as Tensor, both)).detach();
      }),
    );
  }
}

function biasOf(
  { outFeatures }: Linear,
  { init_lora_weights: init }: Options,
  r: number,
  parameters: ModuleParameters,
): Tensor {
  return init === false
    ? parameters.uniform('lora_B.bias', [outFeatures], 1 / Math.sqrt(r))
    : parameters.zeros('lora_B.bias', [outFeatures]);
}
