import { add, layerNorm, rmsNorm, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import { byRun, touches } from '../rows.js';
import type { ParameterOverride } from '../rows.js';
import type { NormKind } from '../outline/stack-options.js';

/** Normalization over the last dimension: LayerNorm or RMSNorm. */
export class Norm {
  readonly #attached = new Map<number, ParameterOverride>();

  constructor(
    readonly path: string,
    readonly kind: NormKind,
    readonly eps: number,
    readonly weight: Tensor,
    readonly bias: Tensor | null,
  ) {}

  /** Replaces parameters for one run. Later calls add to earlier ones. */
  attach(run: number, override: ParameterOverride): void {
    this.#attached.set(run, { ...this.#attached.get(run), ...override });
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** Returns the weight and bias for a run's rows. */
  of(run: number): { readonly weight: Tensor; readonly bias: Tensor | null } {
    const { weight = this.weight, bias = this.bias } = this.#attached.get(run) ?? {};
    return { weight, bias };
  }

  /** x: [n, …, features] */
  forward(x: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return this.#norm(x, this.weight, this.bias);
    return byRun(x, ctx, (rows, run) => {
      const { weight, bias } = this.of(run);
      return this.#norm(rows, to(weight, x.dtype), bias && to(bias, x.dtype));
    });
  }

  #norm(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
    switch (this.kind) {
      case 'layer':
        return layerNorm(x, weight, bias, this.eps);
      case 'rms':
        return rmsNorm(x, weight, this.eps);
      case 'rms_wide':
        return this.#wide(x, to(weight, 'f32'));
      case 'rms_from_one':
        return this.#wide(x, add(to(weight, 'f32'), 1));
    }
  }

  #wide(x: Tensor, weight: Tensor): Tensor {
    return to(rmsNorm(to(x, 'f32'), weight, this.eps), x.dtype);
  }
}
