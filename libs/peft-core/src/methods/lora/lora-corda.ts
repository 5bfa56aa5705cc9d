/**
 * CorDA, arXiv:2406.05223: A and B start as parts of the weight, selected by the inputs of the linear layer on the
 * training data.
 *   C = mean over samples of X'ᵀX',  X' = X / |max X|             X: [n, in] of one example, s: the update's scale
 *   W C' = U Σ Vᵀ,  C' = C + λ mean(diag C) I                     λ = 0.01, doubled until C' C'⁻¹ is I within 0.05
 *   B₀ = U √(Σ/s),  A₀ = √(Σ/s) Vᵀ C'⁻¹                           of the r largest ("ipm"), or the r smallest ("kpm")
 * s B₀A₀ is subtracted from W as described in lora-init.ts.
 */
import { DomainError } from '@graft/contracts';
import {
  abs,
  add,
  add_,
  contiguous,
  diagonal,
  div,
  eye,
  inverse,
  keep,
  matmul,
  max,
  mean,
  mul,
  narrow,
  norm,
  sqrt,
  sub,
  svd,
  tidy,
  to,
  transpose,
  unsqueeze,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, LinearAdapter } from '../../nn/layers/linear.js';
import type { LoraSize } from './lora-init.js';
import type { Observer } from '../frame/preparation.js';
import { canonical } from '../reference-math/signs.js';
import { startingFactors } from './lora-init.js';

export const cordaConfig = z
  .strictObject({
    corda_method: z.enum(['ipm', 'kpm']).default('ipm'),
    cache_file: z.null().default(null),
    covariance_file: z.null().default(null),
    verbose: z.literal(false).default(false),
    use_float16_for_covariance: z.literal(false).default(false),
    prune_temporary_fields: z.literal(true).default(true),
  })
  .nullable()
  .default(null)
  .describe(
    'CorDA: "ipm" (instruction-previewed mode) trains the components of each weight that the data uses most, "kpm" (knowledge-preserved mode) those it uses least',
  );
export type CordaConfig = NonNullable<z.infer<typeof cordaConfig>>;

const DEFAULTS: CordaConfig = cordaConfig.unwrap().unwrap().parse({});
export const cordaOf = (config: CordaConfig | null): CordaConfig => config ?? DEFAULTS;

/** Number of samples; CorDA's paper finds 256 sufficient. */
const EXAMPLES = 256;
const DAMPING = 0.01;
/** Largest allowed deviation of C' C'⁻¹ from I. */
const INVERSE_ERROR = 0.05;
/** Maximum number of doublings of λ; after them, C' is almost a multiple of I. */
const MOST_DOUBLINGS = 60;

/** Calibration statistics of linear layers that share an input. */
interface Seen {
  /** Σ X'ᵀX' [in, in] */
  readonly covariance: Tensor;
  samples: number;
}

export class CordaObserver implements Observer {
  readonly differentiates = false;
  readonly apart = true;
  readonly supervisedOnly = false;
  readonly examples = EXAMPLES;
  readonly #seen = new Map<string, Seen>();
  readonly #leaders = new Map<string, string>();
  #inputs = new Map<Tensor, string>();

  constructor(
    private readonly targets: readonly Linear[],
    private readonly sizeOf: (path: string) => LoraSize,
    private readonly config: CordaConfig,
  ) {}

  of({ path }: Linear): LinearAdapter {
    return {
      after: (y, x) => {
        const first = this.#inputs.get(x);
        this.#inputs.set(x, first ?? path);
        this.#leaders.set(path, first ?? path);
        if (first === undefined) tidy(() => this.#add(path, to(x, 'f32')));
        return y;
      },
    };
  }

  begin(): void {
    this.#inputs = new Map();
  }

  end(): boolean {
    return false;
  }

  found(onModule?: (done: number, of: number) => void): Map<string, Tensor> {
    return startingFactors(
      this.targets,
      (linear) => {
        const seen = this.#seen.get(this.#leaders.get(linear.path) ?? '');
        if (!seen) throw unseen(linear.path);
        return this.#factors(linear, seen);
      },
      onModule,
    );
  }

  dispose(): void {
    for (const { covariance } of this.#seen.values()) covariance.dispose();
  }

  #add(path: string, x: Tensor): void {
    const scaled = div(x, abs(max(x)));
    const own = matmul(transpose(scaled, 0, 1), scaled);
    if (!Number.isFinite(max(abs(own)).item())) throw unseen(path);
    const size = x.shape[1] as number;
    const seen = this.#seen.get(path) ?? {
      covariance: keep(zeros([size, size], 'f32', x.device)),
      samples: 0,
    };
    this.#seen.set(path, seen);
    add_(seen.covariance, own);
    seen.samples += 1;
  }

  /** A₀ [r, in] and B₀ [out, r] */
  #factors({ path, weight, inFeatures, outFeatures }: Linear, seen: Seen): [Tensor, Tensor] {
    const { r, scale } = this.sizeOf(path);
    const covariance = div(seen.covariance, seen.samples);
    const { damped, inverted } = invertible(covariance, path);
    const { u, s, vh } = svd(matmul(weight.dense('f32'), damped));
    const from = this.config.corda_method === 'ipm' ? 0 : Math.min(inFeatures, outFeatures) - r;
    const right = matmul(narrow(vh, 0, from, r), inverted);
    const signed = canonical(narrow(u, 1, from, r), right);
    const root = sqrt(div(narrow(s, 0, from, r), scale));
    return [contiguous(mul(signed.vh, unsqueeze(root, 1))), contiguous(mul(signed.u, root))];
  }
}

/** Returns C' and C'⁻¹. */
function invertible(
  covariance: Tensor,
  path: string,
): { readonly damped: Tensor; readonly inverted: Tensor } {
  const size = covariance.shape[0] as number;
  const one = eye(size, 'f32', covariance.device);
  const middle = mean(diagonal(covariance));
  let damping = DAMPING;
  for (let times = 0; times < MOST_DOUBLINGS; times++) {
    const damped = add(covariance, mul(one, mul(middle, damping)));
    const inverted = inverse(damped);
    if (norm(sub(matmul(damped, inverted), one)).item() < INVERSE_ERROR)
      return { damped, inverted };
    damping *= 2;
  }
  throw unseen(path);
}

const unseen = (path: string): DomainError =>
  new DomainError(
    'invalid_value',
    `init_lora_weights "corda" cannot use the inputs of ${path} in the training data: their covariance is missing, not finite or not invertible; remove it from target_modules`,
    'peft.target_modules',
  );
