// AdamW (arXiv:1711.05101) as in torch.optim.AdamW, in f32, and gradient clipping as in
// torch.nn.utils.clip_grad_norm_:
//   g ← g · min(1, max / (‖g‖₂ + 1e-6)),  with the norm over all gradients.
import {
  adamwStep,
  keep,
  mul_,
  noGrad,
  norm,
  stack,
  tidy,
  zeros,
  type Tensor,
} from '@graft/kernels';
import type { NormKind } from '../../nn/outline/stack-options.js';

export interface AdamWOptions {
  readonly weightDecay: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number | ((step: number) => number);
  /** Selects the parameters with weight decay. The default is all, as in torch. */
  readonly decays?: (name: string) => boolean;
  /** A parameter's learning rate divided by the run's. The default is 1. */
  readonly rate?: (name: string, parameter: Tensor) => number;
}

const UNDECAYED = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)/;

/**
 * Selects the parameters that transformers' Trainer decays (`get_decay_parameter_names`): not those of a
 * LayerNorm, under any name, and not those whose name contains bias, layernorm or rmsnorm or has a part that
 * is `norm` or ends in `_norm`.
 */
export function decaysIn(
  norms: readonly { readonly path: string; readonly kind: NormKind }[],
): (name: string) => boolean {
  const layerNorms = norms.filter(({ kind }) => kind === 'layer').map(({ path }) => `${path}.`);
  return (name) =>
    !UNDECAYED.test(name.toLowerCase()) && !layerNorms.some((path) => name.startsWith(path));
}

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly decays: boolean;
  readonly rate: number;
}

/** An optimizer with its parameters and state. */
export interface Optimizer {
  /** Updates done so far. */
  steps: number;
  /**
   * Clips all gradients to the norm `max` (0 = no clipping). Returns their norm before clipping, which is not
   * finite if a gradient is not.
   */
  clip(max: number): number;
  /**
   * Updates every parameter that has a gradient, then drops the gradients; `updated` is called before they
   * are dropped.
   */
  step(lr: number, updated?: () => void): void;
  /** Drops all gradients. */
  forget(): void;
  /**
   * The moments by name (`m.<parameter>`, `v.<parameter>`). They are the optimizer's own tensors, not copies.
   */
  moments(): Map<string, Tensor>;
  dispose(): void;
}

export class AdamW implements Optimizer {
  steps = 0;
  private readonly slots: readonly Slot[];

  constructor(
    parameters: ReadonlyMap<string, Tensor>,
    private readonly options: AdamWOptions,
  ) {
    const { decays = () => true, rate = () => 1 } = options;
    // allocate everything before storing any of it: an allocation may fail
    this.slots = tidy(() => {
      const slots = [...parameters].map(([name, parameter]) => ({
        name,
        parameter,
        m: zeros(parameter.shape, 'f32', parameter.device),
        v: zeros(parameter.shape, 'f32', parameter.device),
        decays: decays(name),
        rate: rate(name, parameter),
      }));
      for (const { m, v } of slots) [m, v].forEach(keep);
      return slots;
    });
  }

  clip(max: number): number {
    return noGrad(() =>
      tidy(() => {
        const gradients = this.slots
          .map(({ parameter }) => parameter.grad)
          .filter((grad) => grad !== null);
        if (gradients.length === 0) return 0;
        const total = norm(stack(gradients.map((gradient) => norm(gradient)))).item();
        const scale = max / (total + 1e-6);
        if (max > 0 && scale < 1) for (const gradient of gradients) mul_(gradient, scale);
        return total;
      }),
    );
  }

  step(lr: number, updated?: () => void): void {
    this.steps++;
    const { weightDecay, beta1 = 0.9, beta2 = 0.999, eps = 1e-8 } = this.options;
    tidy(() => {
      const ready = this.slots
        .map((slot) => ({ ...slot, grad: slot.parameter.grad }))
        .filter((slot): slot is Slot & { grad: Tensor } => slot.grad !== null);
      // one kernel call for all parameters with the same update
      const alike = new Map<string, (Slot & { grad: Tensor })[]>();
      for (const slot of ready) {
        const key = `${slot.decays} ${slot.rate}`;
        alike.set(key, [...(alike.get(key) ?? []), slot]);
      }
      for (const group of alike.values()) {
        const { decays, rate } = group[0] as Slot;
        const column = (pick: (slot: Slot & { grad: Tensor }) => Tensor): Tensor[] =>
          group.map(pick);
        adamwStep(
          column((s) => s.parameter),
          column((s) => s.grad),
          column((s) => s.m),
          column((s) => s.v),
          {
            lr: lr * rate,
            beta1,
            beta2,
            eps: typeof eps === 'number' ? eps : eps(this.steps),
            weightDecay: decays ? weightDecay : 0,
            step: this.steps,
          },
        );
      }
    });
    updated?.();
    this.forget();
  }

  forget(): void {
    for (const { parameter } of this.slots) parameter.zeroGrad();
  }

  moments(): Map<string, Tensor> {
    return new Map(
      this.slots.flatMap(
        ({ name, m, v }) =>
          [
            [`m.${name}`, m],
            [`v.${name}`, v],
          ] as const,
      ),
    );
  }

  dispose(): void {
    for (const { m, v } of this.slots) {
      m.dispose();
      v.dispose();
    }
  }
}
