/**
 * MonteCLoRA, arXiv:2411.04358, with PEFT's formulas: in training, LoRA's A is sampled around its value.
 *   A' = A + λ √v ⊙ (Σ_k w_k z_k)ᵀ       v_i = max(e^(2 s_i) χ_i, 10⁻³)      χ_i ~ χ²(r): only the diagonal of Wishart's sample
 *   w  = softmax(√d ⊙ y + μ)              μ = log α - mean log α,  d = (1 - 2/K) / α + Σ (1/α) / K²,  α = e^u
 * A: [r, in]  z_k: [in, r], y: [K] ~ N(0, 1)  K samples, λ their scale. s: [r] and u: [K] are trainable, from U(0, 1).
 * A trained adapter runs and merges as plain LoRA. The run's loss adds the mean over its linear layers of
 *   β (KL_D(α ‖ π) + ½ r Σ (e^(2s) - 2s - 1) + ½ K Σ (v - log v - 1))  [+ Σ w²]
 *   KL_D = log Γ(Σα)/Γ(Kπ) + Σ log Γ(α_k)/Γ(π) + Σ (α_k - π)(ψ(α_k) - ψ(Σα))
 * Samples belong to one forward pass of a run and derive from its seed and step; the loss uses those of a step's last
 * forward pass.
 */
import {
  add,
  call,
  clamp,
  copy_,
  counterNormal,
  counterUniform,
  eye,
  full,
  log,
  matmul,
  mean,
  mul,
  noGrad,
  reciprocal,
  reshape,
  softmax,
  sqrt,
  square,
  sub,
  sum,
  tidy,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { RowContext } from '../../nn/context.js';
import { key } from '../../nn/random-init.js';
import type { ModuleParameters, PartShapes } from '../frame/parameters.js';

export const monteclora = z
  .strictObject({
    num_samples: z.int().min(1).max(1024).default(8),
    use_entropy: z.boolean().default(false),
    dirichlet_prior: z.number().positive().default(0.1),
    sample_scaler: z.number().default(1e-4),
    kl_loss_weight: z.number().default(1e-5),
    buffer_size: z.int().min(1).default(150),
  })
  .nullable()
  .default(null)
  .describe(
    'MonteCLoRA: samples A during training as a mean of num_samples draws, scaled by sample_scaler. The loss regularizes them toward a prior (kl_loss_weight, dirichlet_prior; use_entropy adds the entropy of their weights). buffer_size, the number of samples that PEFT draws together, has no effect',
  );
export type MonteCloraConfig = NonNullable<z.infer<typeof monteclora>>;

const PART = 'lora_monteclora_sampler';
const [SPREAD, WEIGHTS] = [`${PART}.std_prior`, `${PART}.expert_weights_prior`] as const;
/** The latest samples. Files store them although they are sampled again before use. */
const [DRAWN_VARIANCE, DRAWN_WEIGHTS] = [
  `${PART}.gaussian_var_prior`,
  `${PART}.expert_weights`,
] as const;
export const MONTECLORA_PARTS = [SPREAD, WEIGHTS, DRAWN_VARIANCE, DRAWN_WEIGHTS] as const;

const LEAST_VARIANCE = 1e-3;
const LEAST = 1e-6;
/** Offset in a stream of random numbers; dropout uses the numbers before it. */
const BEHIND_DROPOUT = 2 ** 40;

/** Shapes of the trainable parts. */
export const monteCloraShapes = ({ num_samples: n }: MonteCloraConfig, r: number): PartShapes => ({
  [SPREAD]: [r],
  [WEIGHTS]: [n],
});

/** Number of values that a backward pass stores of a linear layer's samples. */
export const monteCloraNumbers = (
  { num_samples: n }: MonteCloraConfig,
  inFeatures: number,
  r: number,
): number => (n + 4) * inFeatures * r;

/** Samples of a run for one linear layer. */
interface Draws {
  /** [K, in r] */
  readonly z: Tensor;
  /** [r] */
  readonly chi: Tensor;
  /** [K] */
  readonly y: Tensor;
}

/** Number of linear layers that the loss averages over; known once all have been created. */
export interface Count {
  linears: number;
}

export class MonteClora {
  readonly #spread: Tensor;
  readonly #weights: Tensor;
  readonly #drawnVariance: Tensor;
  readonly #drawnWeights: Tensor;
  /** Random stream of the last training forward pass. */
  #stream: { readonly seed: number; readonly step: number; readonly site: number } | null = null;

  constructor(
    private readonly config: MonteCloraConfig,
    private readonly size: { readonly inFeatures: number; readonly r: number },
    parameters: ModuleParameters,
    private readonly count: Count,
  ) {
    const { num_samples: n } = config;
    const { r } = size;
    const uniform = (part: string, length: number): Tensor =>
      parameters.parameter(part, (name, seed) => counterUniform([length], key(seed, name)));
    this.#spread = uniform(SPREAD, r);
    this.#weights = uniform(WEIGHTS, n);
    const { device } = this.#spread;
    const recorded = (part: string, values: () => Tensor): Tensor => {
      const made = parameters.constant(part, values);
      parameters.remember(part, made);
      return made;
    };
    this.#drawnVariance = recorded(DRAWN_VARIANCE, () => eye(r, 'f32', device));
    this.#drawnWeights = recorded(DRAWN_WEIGHTS, () => full([n], 1 / n));
    count.linears += 1;
  }

  /** A' [r, in] */
  around(a: Tensor, { key: { seed, step }, module }: RowContext): Tensor {
    this.#stream = { seed, step, site: module };
    const { inFeatures, r } = this.size;
    const { z: samples, chi, y } = this.#draws();
    const [w, v] = [this.#mixture(y), this.#variance(chi)];
    noGrad(() => {
      copy_(this.#drawnWeights, w);
      copy_(this.#drawnVariance, mul(eye(r, 'f32', v.device), v));
    });
    const mixed = reshape(matmul(unsqueeze(w, 0), samples), [inFeatures, r]);
    const moved = mul(mixed, mul(sqrt(v), this.config.sample_scaler));
    return add(a, transpose(moved, 0, 1));
  }

  penalty(): Tensor {
    return tidy(() => {
      const { num_samples: n, kl_loss_weight: beta, use_entropy: apart } = this.config;
      const { r } = this.size;
      const { chi, y } = this.#draws();
      const v = this.#variance(chi);
      const ofDraws = mul(sum(sub(sub(v, log(v)), 1)), 0.5 * n);
      const doubled = mul(this.#spread, 2);
      const ofSpread = mul(sum(sub(sub(exp(doubled), doubled), 1)), 0.5 * r);
      const divergence = mul(add(add(this.#ofWeights(), ofSpread), ofDraws), beta);
      const whole = apart ? add(divergence, sum(square(this.#mixture(y)))) : divergence;
      return mul(whole, 1 / this.count.linears);
    });
  }

  #draws(): Draws {
    const { num_samples: n } = this.config;
    const { inFeatures, r } = this.size;
    const stream = this.#stream ?? { seed: 0, step: 0, site: 0 };
    let at = BEHIND_DROPOUT;
    const normal = (...shape: number[]): Tensor => {
      const drawn = counterNormal(shape, stream, at);
      at += drawn.size;
      return drawn;
    };
    const samples = normal(n, inFeatures * r);
    return { z: samples, chi: sum(square(normal(r, r)), 1), y: normal(n) };
  }

  /** v [r] */
  #variance(chi: Tensor): Tensor {
    return clamp(mul(exp(mul(this.#spread, 2)), chi), LEAST_VARIANCE);
  }

  /** w [K] */
  #mixture(y: Tensor): Tensor {
    const { num_samples: n } = this.config;
    const alpha = clamp(exp(this.#weights), LEAST);
    const logs = log(alpha);
    const inverse = reciprocal(alpha);
    const d = add(mul(inverse, 1 - 2 / n), mul(sum(inverse), 1 / n ** 2));
    const deviation = sqrt(add(clamp(d, LEAST), LEAST));
    return softmax(add(mul(deviation, y), sub(logs, mean(logs))), -1);
  }

  /** KL_D */
  #ofWeights(): Tensor {
    const { num_samples: n, dirichlet_prior: prior } = this.config;
    const alpha = exp(this.#weights);
    const whole = sum(alpha);
    const logGamma = (t: Tensor): Tensor => call('aten::lgamma', t) as Tensor;
    const digamma = (t: Tensor): Tensor => call('aten::digamma', t) as Tensor;
    const [one, all] = [prior, n * prior].map((value) => logGamma(full([1], value)).item()) as [
      number,
      number,
    ];
    const totals = sub(logGamma(whole), all);
    const each = sum(sub(logGamma(alpha), one));
    const slopes = sum(mul(sub(alpha, prior), sub(digamma(alpha), digamma(whole))));
    return add(add(totals, each), slopes);
  }
}

const exp = (t: Tensor): Tensor => call('aten::exp', t) as Tensor;
