// AdamW (arXiv:1711.05101) with torch.optim.AdamW's maths, in f32, and gradient clipping as
// torch.nn.utils.clip_grad_norm_:  g ← g · min(1, max / (‖g‖₂ + 1e-6)),  the norm over all gradients.
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

export interface AdamWOptions {
  readonly weightDecay: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  /** Which parameters decay; default as transformers' Trainer: all but biases and norms. */
  readonly decays?: (name: string) => boolean;
}

const UNDECAYED = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)|(?:^|\.)ln_[f\d]/;

export function decaysByDefault(name: string): boolean {
  return !UNDECAYED.test(name.toLowerCase());
}

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly decays: boolean;
}

export class AdamW {
  /** Updates done so far. */
  steps = 0;
  private readonly slots: readonly Slot[];

  constructor(
    parameters: ReadonlyMap<string, Tensor>,
    private readonly options: AdamWOptions,
  ) {
    const decays = options.decays ?? decaysByDefault;
    this.slots = [...parameters].map(([name, parameter]) => ({
      name,
      parameter,
      m: keep(zeros(parameter.shape, 'f32', parameter.device)),
      v: keep(zeros(parameter.shape, 'f32', parameter.device)),
      decays: decays(name),
    }));
  }

  /** Norm of all gradients before clipping them to `max` (0 = never clipped). Not finite if one is not. */
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

  /** Updates every parameter that has a gradient, and forgets the gradients. */
  step(lr: number): void {
    this.steps++;
    const { weightDecay, beta1 = 0.9, beta2 = 0.999, eps = 1e-8 } = this.options;
    tidy(() => {
      for (const decays of [true, false]) {
        const group = this.slots
          .filter((slot) => slot.decays === decays)
          .map((slot) => ({ ...slot, grad: slot.parameter.grad }))
          .filter((slot): slot is Slot & { grad: Tensor } => slot.grad !== null);
        const column = (pick: (slot: Slot & { grad: Tensor }) => Tensor): Tensor[] =>
          group.map(pick);
        adamwStep(
          column((s) => s.parameter),
          column((s) => s.grad),
          column((s) => s.m),
          column((s) => s.v),
          {
            lr,
            beta1,
            beta2,
            eps,
            weightDecay: decays ? weightDecay : 0,
            step: this.steps,
          },
        );
      }
    });
    this.forget();
  }

  /** Drops all gradients. */
  forget(): void {
    for (const { parameter } of this.slots) parameter.zeroGrad();
  }

  /** The moments by name (`m.<parameter>`, `v.<parameter>`): the optimiser's own tensors, not copies. */
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
