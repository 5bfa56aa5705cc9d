/**
 * LoRA-GA, arXiv:2407.05000: A and B start along the gradient of the full weight, so that their first steps match those
 * of full fine-tuning.
 *   G = ∂loss/∂W [out, in], mean over micro-batches of the training data;  G ≈ U Σ Vᵀ of 4r parts
 *   direction   ArB2r: A = V₁…ᵣ, B = U Σ of r+1…2r;  A2rBr: the reverse;  ArBr: A = V of 2, 4, …, B of 1, 3, …;
 *               random: the same r of the first 2r for both
 *   scale       stable: B · out^¼ / √γ;  weight_svd: B · ‖W‖₂ / its first σ;  gd_scale: A / s and B / s;  unit: unscaled
 * s B₀A₀ is subtracted from W as described in lora-init.ts. The decomposition is PEFT's (4 rounds of subspace
 * iteration), with random numbers from the run's seed; ‖W‖₂ is exact. Signs follow signs.ts, since other signs would
 * start elsewhere.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  add_,
  contiguous,
  div,
  indexSelect,
  keep,
  matmul,
  mul,
  noGrad,
  svd,
  tensor,
  tidy,
  to,
  toDevice,
  transpose,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { Linear, LinearAdapter } from '../../nn/layers/linear.js';
import { lowRankSvd, startingFactors } from './lora-init.js';
import type { LoraSize } from './lora-init.js';
import { key, normal } from '../../nn/random-init.js';
import type { Observer } from '../frame/preparation.js';
import { canonical } from '../reference-math/signs.js';
import { TorchGenerator } from '../reference-math/torch-generator.js';

export const loraGaConfig = z
  .strictObject({
    direction: z.enum(['ArBr', 'A2rBr', 'ArB2r', 'random']).default('ArB2r'),
    scale: z.enum(['stable', 'weight_svd', 'gd_scale', 'unit']).default('stable'),
    stable_gamma: z.int().min(1).default(16),
  })
  .nullable()
  .default(null)
  .describe('LoRA-GA: which singular vectors of the gradient initialize A and B, and their scale');
export type LoraGaConfig = NonNullable<z.infer<typeof loraGaConfig>>;

const DEFAULTS: LoraGaConfig = loraGaConfig.unwrap().unwrap().parse({});
export const loraGaOf = (config: LoraGaConfig | null): LoraGaConfig => config ?? DEFAULTS;

/** Number of samples: the paper's 64 batches of 2. */
const EXAMPLES = 128;
const ROUNDS = 4;

/** Tensors of one forward pass from which the gradient of a linear layer is computed. */
interface Pass {
  readonly path: string;
  /** [n, in] */
  readonly x: Tensor;
  /** Zeros added to y [n, out]; their gradient is that of y. */
  readonly output: Tensor;
}

export class LoraGaObserver implements Observer {
  readonly differentiates = true;
  readonly apart = false;
  readonly supervisedOnly = false;
  readonly examples = EXAMPLES;
  /** Σ ∂loss/∂W [out, in], by linear layer. */
  readonly #gradients = new Map<string, Tensor>();
  #passes: Pass[] = [];
  #samples = 0;

  constructor(
    private readonly targets: readonly Linear[],
    private readonly sizeOf: (path: string) => LoraSize,
    private readonly config: LoraGaConfig,
    private readonly seed: number,
  ) {}

  of({ path }: Linear): LinearAdapter {
    return {
      after: (y, x) => {
        const output = keep(zeros(y.shape, y.dtype, y.device));
        output.requiresGrad = true;
        this.#passes.push({ path, x: keep(noGrad(() => x.detach())), output });
        return add(y, output);
      },
    };
  }

  begin(): void {
    this.#free();
  }

  end(): boolean {
    this.#samples += 1;
    noGrad(() =>
      tidy(() => {
        for (const { path, x, output } of this.#passes) {
          const { grad } = output;
          if (!grad) continue;
          const own = matmul(transpose(to(grad, 'f32'), 0, 1), to(x, 'f32'));
          const sum = this.#gradients.get(path);
          if (sum) add_(sum, own);
          else this.#gradients.set(path, keep(contiguous(own)));
        }
      }),
    );
    this.#free();
    return false;
  }

  found(onModule?: (done: number, of: number) => void): Map<string, Tensor> {
    return startingFactors(
      this.targets,
      (linear) => {
        const sum = this.#gradients.get(linear.path);
        if (!sum) throw unreached(linear.path);
        return this.#factors(linear, div(sum, this.#samples));
      },
      onModule,
    );
  }

  dispose(): void {
    this.#free();
    for (const gradient of this.#gradients.values()) gradient.dispose();
  }

  #free(): void {
    for (const { x, output } of this.#passes) [x, output].forEach((one) => one.dispose());
    this.#passes = [];
  }

  /** A₀ [r, in] and B₀ [out, r] */
  #factors(linear: Linear, gradient: Tensor): [Tensor, Tensor] {
    const { path } = linear;
    const { r, scale } = this.sizeOf(path);
    const smaller = Math.min(...gradient.shape);
    const start = normal([smaller, Math.min(4 * r, smaller)], 1, this.seed, `${path}.lora_ga`);
    const { u, s, vh } = lowRankSvd(gradient, start, ROUNDS);
    if (!Number.isFinite(s.toArray()[0] as number)) throw unreached(path);
    const signed = canonical(u, vh);
    const [ofA, ofB] = this.#places(r, path).map((places) =>
      toDevice(tensor(places, [r], 'i64'), gradient.device),
    ) as [Tensor, Tensor];
    const sigma = indexSelect(s, 0, ofB);
    const a = indexSelect(signed.vh, 0, ofA);
    const b = mul(indexSelect(signed.u, 1, ofB), sigma);
    const [down, up] = this.#scales(linear, scale, (sigma.toArray() as Float32Array)[0] as number);
    return [contiguous(mul(a, down)), contiguous(mul(b, up))];
  }

  /** Indices of the parts that A uses, and of those that B uses. */
  #places(r: number, path: string): [number[], number[]] {
    const list = (first: number, step: number): number[] =>
      Array.from({ length: r }, (_, i) => first + step * i);
    switch (this.config.direction) {
      case 'ArB2r':
        return [list(0, 1), list(r, 1)];
      case 'A2rBr':
        return [list(r, 1), list(0, 1)];
      case 'ArBr':
        return [list(1, 2), list(0, 2)];
      case 'random': {
        const { site } = key(this.seed, `${path}.lora_ga`);
        const drawn = [...new TorchGenerator(this.seed + site).permutation(2 * r, r)];
        return [drawn, drawn];
      }
    }
  }

  /** Scales of A and B. @param first B's largest σ */
  #scales(linear: Linear, s: number, first: number): [number, number] {
    const { weight, transposed, inFeatures, outFeatures } = linear;
    switch (this.config.scale) {
      case 'stable':
        // PEFT swaps inputs and outputs for a weight that is stored as [in, out]
        return [
          1,
          (transposed ? inFeatures : outFeatures) ** 0.25 / this.config.stable_gamma ** 0.5,
        ];
      case 'weight_svd': {
        const largest = (svd(weight.dense('f32')).s.toArray() as Float32Array)[0] as number;
        return [1, first > 0 ? largest / first : 1];
      }
      case 'gd_scale':
        return [1 / s, 1 / s];
      case 'unit':
        return [1, 1];
    }
  }
}

const unreached = (path: string): DomainError =>
  new DomainError(
    'invalid_value',
    `init_lora_weights "lora_ga" found no gradient for ${path} in the training data; remove it from target_modules`,
    'peft.target_modules',
  );
