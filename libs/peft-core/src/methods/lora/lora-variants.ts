/**
 * Variants of LoRA's two factors. A run uses at most one of these, DoRA or MiCA.
 *   BD-LoRA  A or B is block-diagonal, so that it can be split over the devices that serve it.
 *            Stored as [r, in / k] or [out, r / k]: k blocks, stacked.
 *   VeLoRA   arXiv:2405.17991.  y as in LoRA; A's gradient is that of x̂, the projection of each group of features of
 *            x on a direction v. The backward pass stores these projections instead of x.
 *   KaSA     arXiv:2412.06071.  y = x W'ᵀ + s ((x Aᵀ) ⊙ d) Bᵀ,  W' = W without its r smallest singular parts,  d: [r] ~ N(0, 1).
 *            The run's loss adds  β ‖d‖² + γ (‖BᵀB - I‖ + ‖A Aᵀ - I‖)  of every linear layer. The base stays unchanged: the
 *            update subtracts those parts from W's output.
 */
import {
  add,
  cat,
  div,
  eye,
  keep,
  linear,
  matmul,
  mul,
  narrow,
  neg,
  noGrad,
  norm,
  reshape,
  square,
  sub,
  sum,
  svd,
  tidy,
  to,
  transpose,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { Linear } from '../../nn/layers/linear.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';

const patterns = z.array(z.string().min(1)).nullable().default(null);

export const bdLora = z
  .strictObject({
    target_modules_bd_a: patterns,
    target_modules_bd_b: patterns,
    nblocks: z.int().min(1).max(1024).default(1),
    match_strict: z.boolean().default(true),
  })
  .nullable()
  .default(null)
  .describe(
    'BD-LoRA: makes A or B block-diagonal for modules whose path contains one of these strings',
  );
export const kasa = z
  .strictObject({
    beta: z.number().min(0).default(1e-4),
    gamma: z.number().min(0).default(1e-3),
  })
  .nullable()
  .default(null)
  .describe(
    'KaSA: replaces the minor singular components of each weight with the update. Coefficients of its penalties: on the singular values and on non-orthogonal factors',
  );

export const velora = z
  .strictObject({
    num_groups: z.int().min(1).max(65_536).default(64),
    scale: z.number().positive().default(1),
    init_type: z.enum(['batch_average', 'batch_average_once', 'random']).default('batch_average'),
  })
  .nullable()
  .default(null)
  .describe(
    'VeLoRA: the gradient of A uses inputs compressed to num_groups values per row. init_type: "random" (the projection direction)',
  );

export const invocationTokens = z
  .array(z.int().min(0))
  .min(1)
  .nullable()
  .default(null)
  .describe(
    'Activated LoRA: token ids of the invocation sequence. The adapter is active from its last occurrence on (in chats, the last in the prompt); earlier tokens use the base model. Every example must contain the sequence before its labels',
  );

/**
 * Checks VeLoRA's options.
 * @throws DomainError if the direction would be the mean of the rows of a forward pass
 */
export function checkVelora(config: z.infer<typeof velora>): void {
  if (!config || config.init_type === 'random') return;
  const message = `velora_config.init_type "${config.init_type}", PEFT's default, uses the mean of all rows of a forward pass, so the result would depend on micro-batches and on other runs; use "random"`;
  throw new DomainError('unsupported', message, 'peft.velora_config');
}

/**
 * Compressed inputs of a linear layer for VeLoRA: G values for each row, the projection of each group of M
 * features on the direction v.
 */
export class Compression {
  readonly #v: Tensor;
  readonly #groups: number;
  readonly #size: number;
  readonly #scale: number;

  constructor(
    { inFeatures }: Pick<Place, 'inFeatures'>,
    config: NonNullable<z.infer<typeof velora>>,
    parameters: ModuleParameters,
  ) {
    checkVelora(config);
    this.#groups = config.num_groups;
    this.#scale = config.scale;
    this.#size = Math.ceil(inFeatures / this.#groups);
    this.#v = parameters.constant('lora_velora_embed', () => {
      const drawn = parameters.noise('lora_velora_embed', [this.#size]);
      return div(drawn, norm(drawn));
    });
  }

  /**
   * x Aᵀ. A's gradient is that of x̂ = scale (x · v) ⊗ v, by group; x's gradient is that of the exact product
   * with A.
   */
  product(x: Tensor, a: Tensor): Tensor {
    const kept = noGrad(() => this.#along(x, x.dtype).detach());
    const u = linear(kept, this.#along(a, x.dtype));
    // has the value zero and only adds a gradient
    const learnt = mul(sub(u, u.detach()), this.#scale);
    return add(linear(x, to(a.detach(), x.dtype)), learnt);
  }

  /** Projects rows [n, in] → [n, G]. */
  #along(rows: Tensor, dtype: Dtype): Tensor {
    const [n, features] = rows.shape as [number, number];
    const lacking = this.#groups * this.#size - features;
    const filled =
      lacking === 0 ? rows : cat([rows, zeros([n, lacking], rows.dtype, rows.device)], 1);
    const grouped = to(reshape(filled, [n, this.#groups, this.#size]), dtype);
    return matmul(grouped, to(this.#v, dtype));
  }
}

/** Number of blocks, and the factor that has them. */
export interface Blocks {
  readonly part: 'a' | 'b';
  readonly count: number;
}

type Place = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures' | 'transposed' | 'kernel'>;

/** Number of blocks and their factor for a linear layer. @throws DomainError if PEFT rejects the layer */
export function blocksOf(
  { path, inFeatures, outFeatures }: Place,
  config: z.infer<typeof bdLora>,
  r: number,
): Blocks | null {
  if (config === null) return null;
  const refuse = (what: string): never => {
    throw new DomainError('invalid_value', `use_bdlora: ${path} ${what}`, 'peft.use_bdlora');
  };
  const has = (texts: readonly string[] | null): boolean =>
    (texts ?? []).some((text) => path.includes(text));
  const [a, b] = [has(config.target_modules_bd_a), has(config.target_modules_bd_b)];
  if (a && b) refuse('is in both target_modules_bd_a and target_modules_bd_b');
  if (!a && !b && config.match_strict)
    refuse('is in neither target_modules_bd_a nor target_modules_bd_b; set match_strict to false');
  if (!a && !b) return null;
  const count = config.nblocks;
  const sizes = a ? [inFeatures, r] : [r, outFeatures];
  if (sizes.some((size) => size % count !== 0))
    refuse(`has a factor [${sizes.reverse().join(', ')}], which ${count} blocks do not divide`);
  return { part: a ? 'a' : 'b', count };
}

/** Shapes of the factors of a linear layer. */
export function factorShapes(
  { inFeatures, outFeatures, kernel }: Place,
  blocks: Blocks | null,
  r: number,
): { readonly lora_A: readonly number[]; readonly lora_B: readonly number[] } {
  // A convolves as W does, and B's window has size 1
  if (kernel)
    return { lora_A: [r, ...kernel], lora_B: [outFeatures, r, ...kernel.slice(1).map(() => 1)] };
  const of = (part: Blocks['part']): number => (blocks?.part === part ? blocks.count : 1);
  return { lora_A: [r, inFeatures / of('a')], lora_B: [outFeatures, r / of('b')] };
}

/** Shapes of KaSA's factors. @throws DomainError if KaSA does not fit the linear layer */
export function kasaShapes(
  { path, inFeatures, outFeatures, transposed }: Place,
  r: number,
): PartShapes {
  const refuse = (code: 'unsupported' | 'invalid_value', what: string): never => {
    throw new DomainError(code, `kasa_config: ${path} ${what}`, 'peft.kasa_config');
  };
  if (transposed)
    refuse('unsupported', 'is stored as [in, out] (Conv1D), which PEFT does not support');
  const most = Math.min(inFeatures, outFeatures) - 1;
  if (r > most) refuse('invalid_value', `supports a rank of at most ${most}, got ${r}`);
  return { lora_diag: [r] };
}

/**
 * The smallest singular parts of W as factors, with s B₀A₀ the negative of these parts. The caller disposes
 * them.
 */
export function smallestParts(
  { weight }: Linear,
  { r, scale }: { readonly r: number; readonly scale: number },
): { readonly a: Tensor; readonly b: Tensor } {
  return noGrad(() =>
    tidy(() => {
      const { u, s, vh } = svd(weight.dense('f32'));
      const from = (s.shape[0] as number) - r;
      const sigma = narrow(s, 0, from, r);
      return {
        a: keep(mul(narrow(vh, 0, from, r), unsqueeze(sigma, 1))),
        b: keep(mul(neg(narrow(u, 1, from, r)), 1 / scale)),
      };
    }),
  );
}

/** KaSA's auxiliary loss of one linear layer. */
export function kasaPenalty(
  a: Tensor,
  b: Tensor,
  d: Tensor,
  { beta, gamma }: { readonly beta: number; readonly gamma: number },
): Tensor {
  return tidy(() => {
    const one = eye(d.shape[0] as number, 'f32', d.device);
    const away = (gram: Tensor): Tensor => norm(sub(gram, one));
    const turned = (t: Tensor): Tensor => transpose(t, 0, 1);
    const apart = add(away(matmul(turned(b), b)), away(matmul(a, turned(a))));
    return add(mul(sum(square(d)), beta), mul(apart, gamma));
  });
}

/** Initial d. It has no effect at the start, since B = 0. */
export const kasaDiagonal = (parameters: ModuleParameters, r: number): Tensor =>
  parameters.normal('lora_diag', [r], 1);
