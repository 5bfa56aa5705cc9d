/**
 * AdaLoRA's rank budget, arXiv:2303.10512, allocated as in PEFT. After each step until total - tfinal, each element p
 * of A, E and B with gradient g updates
 *   I = |p g|   Ī ← β₁ Ī + (1 - β₁) I   U ← β₂ U + (1 - β₂) |I - Ī|   score = Ī U
 * A triplet is a row of A, a column of B and an element of E. Its score is score(E) + mean score(A) + mean score(B).
 * The budget over all linear layers is
 *   b(t) = target + (init - target) (1 - (t - tinit) / (total - tfinal - tinit))³,  rounded down
 * About that many triplets stay. E is 0 in the others, which may return while the budget is not final.
 */
import {
  abs,
  add,
  add_,
  cat,
  copy_,
  full,
  gt,
  mean,
  mul,
  mul_,
  noGrad,
  reshape,
  sort,
  sub,
  tidy,
  to,
  zeros,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { SharedState } from '../frame/linear-method.js';
import type { ModuleParameters } from '../frame/parameters.js';

export interface BudgetOptions {
  readonly init_r: number;
  readonly target_r: number;
  readonly tinit: number;
  readonly tfinal: number;
  readonly deltaT: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly total_step?: number | null | undefined;
}

/** Returns the number of triplets of `linears` layers after a step. */
export function budgetAt(step: number, linears: number, options: BudgetOptions): number {
  const { init_r: init, target_r: target, tinit, tfinal, total_step: total } = options;
  const [most, least] = [init * linears, target * linears];
  if (step <= tinit) return most;
  const done = (step - tinit) / ((total as number) - tfinal - tinit);
  return Math.trunc((most - least) * (1 - done) ** 3 + least);
}

/** Moving averages of a parameter's importance. */
interface Importance {
  readonly parameter: Tensor;
  readonly mean: Tensor;
  readonly spread: Tensor;
}

/** Triplets of one linear layer. */
export class Triplets {
  readonly #a: Importance;
  readonly #e: Importance;
  readonly #b: Importance;
  /** State of each triplet: 1 kept, 0 pruned, -1 before the first allocation. [r] */
  readonly #left: Tensor;

  constructor(
    readonly path: string,
    { a, e, b }: { readonly a: Tensor; readonly e: Tensor; readonly b: Tensor },
    parameters: ModuleParameters,
  ) {
    const importance = (part: string, parameter: Tensor): Importance => {
      const start = (kind: string): Tensor =>
        parameters.memory(`${part}_${kind}`, () => zeros(parameter.shape));
      return { parameter, mean: start('mean'), spread: start('spread') };
    };
    this.#a = importance('lora_A', a);
    this.#e = importance('lora_E', e);
    this.#b = importance('lora_B', b);
    this.#left = parameters.memory('lora_E_left', () => full([e.shape[0] as number], -1));
  }

  /** Returns which triplets are kept; null before the first allocation. */
  left(): boolean[] | null {
    const left = [...(this.#left.toArray() as Float32Array)];
    return left.includes(-1) ? null : left.map((value) => value === 1);
  }

  observe({ beta1, beta2 }: BudgetOptions): void {
    for (const { parameter, mean: average, spread } of [this.#a, this.#e, this.#b]) {
      const gradient = parameter.grad;
      if (!gradient) continue;
      tidy(() => {
        const now = abs(mul(parameter, gradient));
        add_(mul_(average, beta1), now, 1 - beta1);
        add_(mul_(spread, beta2), abs(sub(now, average)), 1 - beta2);
      });
    }
  }

  /** Returns the scores [r]. */
  scores(): Tensor {
    return tidy(() => {
      const score = (one: Importance): Tensor => mul(one.mean, one.spread);
      const [a, e, b] = [score(this.#a), score(this.#e), score(this.#b)];
      return add(reshape(e, [-1]), add(mean(a, 1), mean(b, 0)));
    });
  }

  keep(left: Tensor): void {
    copy_(this.#left, left);
  }

  mask(): void {
    const e = this.#e.parameter;
    mul_(e, reshape(this.#left, e.shape));
  }
}

export class Budget implements SharedState {
  readonly all: Triplets[] = [];

  constructor(private readonly options: BudgetOptions) {}

  afterStep(step: number): void {
    const { total_step: total = null, tfinal, tinit, deltaT } = this.options;
    if (total === null) return;
    const final = total - tfinal;
    noGrad(() =>
      tidy(() => {
        if (step < final) this.all.forEach((each) => each.observe(this.options));
        if (step === final || (step < final && step > tinit && step % deltaT === 0))
          this.#allot(step);
        if (step > final) this.all.forEach((each) => each.mask());
      }),
    );
  }

  /** Prunes the triplets with the lowest scores, and those with the same score as the highest of them. */
  #allot(step: number): void {
    const { all } = this;
    const scores = all.map((each) => each.scores());
    const together = cat(scores);
    const gone = (together.shape[0] as number) - budgetAt(step, all.length, this.options);
    const threshold =
      gone > 0
        ? ((sort(together).values.toArray() as Float32Array)[gone - 1] as number)
        : -Infinity;
    all.forEach((each, i) => {
      each.keep(to(gt(scores[i] as Tensor, threshold), 'f32'));
      each.mask();
    });
  }
}
