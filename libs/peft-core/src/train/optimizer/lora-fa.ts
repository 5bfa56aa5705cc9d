/**
 * LoRA-FA (arXiv:2308.03303) as in PEFT: A stays at its initial value, and the gradient of B is chosen such
 * that the update is closest to the gradient of the full weight.
 *
 *   A: [r, in]  B: [out, r]  s: the update's scale  δ = 1e-8
 *
 *   g ← g_B (A Aᵀ + δ I)⁺ / s²
 *   m ← β₁ m + (1-β₁) g,  v ← β₂ v + (1-β₂) g²,  B ← (B - lr √(1-β₂ᵗ) / (1-β₁ᵗ) · m / (√v + ε)) (1 - lr λ),  ε = 1e-6
 *
 * A needs no gradient, so the input of a linear layer need not be stored for it. The run's other parameters
 * are updated by the same rule from their unmodified gradients.
 */
import { add, copy_, eye, matmul, mul, mul_, noGrad, pinv, tidy, transpose } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { AdamW } from './adamw.js';
import type { Optimizer } from './adamw.js';

const EPS = 1e-6;
const BETA2 = 0.999;
const DELTA = 1e-8;

export interface LoraFaOptions {
  readonly weightDecay: number;
  /** Returns s of the linear layer at this path. */
  readonly scaleOf: (path: string) => number;
}

interface Pair {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

export class LoraFa implements Optimizer {
  readonly #trained: ReadonlyMap<string, Tensor>;
  readonly #pairs: readonly Pair[];
  readonly #adamw: AdamW;

  constructor(
    parameters: ReadonlyMap<string, Tensor>,
    private readonly options: LoraFaOptions,
  ) {
    const isA = (name: string): boolean => name.endsWith('.lora_A');
    this.#trained = new Map([...parameters].filter(([name]) => !isA(name)));
    this.#pairs = [...parameters].flatMap(([name, a]) => {
      const path = name.slice(0, name.lastIndexOf('.'));
      const b = parameters.get(`${path}.lora_B`);
      return isA(name) && b ? [{ a, b, scale: options.scaleOf(path) }] : [];
    });
    for (const { a } of this.#pairs) a.requiresGrad = false;
    this.#adamw = new AdamW(this.#trained, {
      weightDecay: 0,
      beta2: BETA2,
      // LoRA-FA divides by √v + ε, the kernel by √v / √(1-β₂ᵗ) + ε
      eps: (step) => EPS / Math.sqrt(1 - BETA2 ** step),
    });
  }

  get steps(): number {
    return this.#adamw.steps;
  }

  set steps(done: number) {
    this.#adamw.steps = done;
  }

  clip(max: number): number {
    return this.#adamw.clip(max);
  }

  step(lr: number, updated?: () => void): void {
    noGrad(() => {
      this.#pairs.forEach(turnGradient);
      const trained = [...this.#trained.values()].filter(({ grad }) => grad !== null);
      const kept = 1 - lr * this.options.weightDecay;
      this.#adamw.step(lr, () => {
        if (kept !== 1) tidy(() => trained.forEach((parameter) => mul_(parameter, kept)));
        updated?.();
      });
    });
  }

  forget(): void {
    this.#adamw.forget();
  }

  moments(): Map<string, Tensor> {
    return this.#adamw.moments();
  }

  dispose(): void {
    this.#adamw.dispose();
  }
}

function turnGradient({ a, b, scale }: Pair): void {
  tidy(() => {
    const gradient = b.grad;
    if (gradient === null) return;
    const rank = a.shape[0] as number;
    const inverse = pinv(
      add(matmul(a, transpose(a, 0, 1)), mul(eye(rank, 'f32', a.device), DELTA)),
    );
    copy_(gradient, mul(matmul(gradient, inverse), 1 / scale ** 2));
  });
}
