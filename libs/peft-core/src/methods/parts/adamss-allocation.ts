/**
 * AdaMSS's adaptive allocation of subspaces, as in PEFT's callback. After each step from init_warmup to final_warmup,
 * with steps counted from 0, each element p of A and B with gradient g updates
 *   I = |p g|   U ← β₂ U + (1 - β₂) |I - Ī|   Ī ← β₁ Ī + (1 - β₁) I
 * Every mask_interval steps, a cluster has the score mean(Ī U of A) + mean(Ī U of B). If there are more clusters than
 *   n(t) = target + (all - target) (1 - (t - init) / (final - init))ᵉ,  rounded down
 * only those above the n-th largest score of all linear layers stay trainable. The others are frozen for good but stay
 * in the forward pass. Then Ī and U are reset.
 */
import { abs, add_, fill_, mean, mul, mul_, noGrad, sub, tidy, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { SharedState } from '../frame/linear-method.js';
import type { ModuleParameters } from '../frame/parameters.js';

export interface AllocationOptions {
  readonly use_asa: boolean;
  readonly asa_target_subspaces: number;
  readonly init_warmup: number;
  readonly final_warmup: number;
  readonly mask_interval: number;
  readonly asa_importance_beta: number;
  readonly asa_uncertainty_beta: number;
  readonly asa_schedule_exponent: number;
}

interface Importance {
  readonly parameter: Tensor;
  readonly mean: Tensor;
  readonly spread: Tensor;
}

/** Cluster of one linear layer. */
interface Subspace {
  readonly both: readonly [a: Importance, b: Importance];
  /** Whether it is trainable, as a tensor [1]: 1 or 0. */
  readonly trains: Tensor;
}

export class Allocation implements SharedState {
  readonly #all: Subspace[] = [];

  constructor(private readonly options: AllocationOptions) {}

  /** @param parts names of A and B */
  add(
    parts: readonly [a: string, b: string],
    [a, b]: readonly [Tensor, Tensor],
    parameters: ModuleParameters,
  ): void {
    if (!this.options.use_asa) return;
    const importance = (part: string, parameter: Tensor): Importance => {
      const start = (kind: string): Tensor =>
        parameters.memory(`${part}_${kind}`, () => zeros(parameter.shape));
      return { parameter, mean: start('mean'), spread: start('spread') };
    };
    this.#all.push({
      both: [importance(parts[0], a), importance(parts[1], b)],
      trains: parameters.memory(`${parts[0]}_trains`, () => fill_(zeros([1]), 1)),
    });
  }

  afterStep(counted: number): void {
    const { init_warmup: first, final_warmup: last, mask_interval: interval } = this.options;
    const step = counted - 1;
    if (this.#all.length === 0 || step < first || step > last) return;
    noGrad(() =>
      tidy(() => {
        for (const { both } of this.#all) both.forEach((one) => this.#observe(one));
        if (step % interval !== 0) return;
        this.#allot(step);
        for (const { both } of this.#all)
          for (const { mean: average, spread } of both)
            [average, spread].forEach((t) => fill_(t, 0));
      }),
    );
  }

  restored(): void {
    for (const subspace of this.#all) if (subspace.trains.item() === 0) freeze(subspace);
  }

  #observe({ parameter, mean: average, spread }: Importance): void {
    const gradient = parameter.grad;
    if (!gradient) return;
    const { asa_importance_beta: beta1, asa_uncertainty_beta: beta2 } = this.options;
    tidy(() => {
      const now = abs(mul(parameter, gradient));
      add_(mul_(spread, beta2), abs(sub(now, average)), 1 - beta2);
      add_(mul_(average, beta1), now, 1 - beta1);
    });
  }

  #allot(step: number): void {
    const training = this.#all.filter(({ both: [a] }) => a.parameter.requiresGrad);
    const wanted = this.#wantedAt(step);
    if (wanted >= training.length) return;
    const scores = training.map(({ both: [a, b] }) => score(a) + score(b));
    const threshold = [...scores].sort((x, y) => y - x)[wanted - 1] as number;
    training.forEach((subspace, i) => {
      if ((scores[i] as number) > threshold) return;
      fill_(subspace.trains, 0);
      freeze(subspace);
    });
  }

  #wantedAt(step: number): number {
    const { asa_target_subspaces: target, asa_schedule_exponent: exponent } = this.options;
    const { init_warmup: first, final_warmup: last } = this.options;
    const left = 1 - (step - first) / (last - first);
    return Math.trunc(target + (this.#all.length - target) * left ** exponent);
  }
}

const score = ({ mean: average, spread }: Importance): number =>
  tidy(() => mean(mul(average, spread)).item());

function freeze({ both }: Subspace): void {
  for (const { parameter } of both) {
    parameter.zeroGrad();
    parameter.requiresGrad = false;
  }
}
