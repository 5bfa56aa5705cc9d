/**
 * Frozen LoRAs of one linear layer with a weight per row (xlora.ts):   y ← y + g Σ_i s_i ⊙ scale_i (x A_iᵀ) B_iᵀ
 *
 * All LoRAs share one product with A [R, in] and one with B [out, R], where R is the sum of their ranks. Between the
 * two, values are multiplied by s E [n, R], where E [N, R] has g scale_i at the ranks of LoRA i.
 */
import {
  addmm,
  addmm_,
  cat,
  counterDropout,
  keep,
  linear,
  matmul,
  mul,
  narrow,
  select,
  tensor,
  tidy,
  to,
  transpose,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { LinearAdapter, LinearContext } from '../../nn/layers/linear.js';
import type { LoraSize } from '../lora/lora-init.js';
import { f32Copy } from '../frame/parameters.js';

/** LoRA of a linear layer. */
export interface Factors extends LoraSize {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly dropout: number;
}

/** Offset of a module's random streams, which keeps them apart from those of other modules. */
export const STREAMS = 1 << 24;

/** LoRAs of one linear layer. */
export class MixedLinear implements LinearAdapter {
  /** Concatenated factors of all its LoRAs. A: [R, in]  B: [out, R] */
  readonly #a: Tensor;
  readonly #b: Tensor;
  /** Matrix E [N, R], which expands weights of LoRAs to weights of ranks. */
  readonly #spread: Tensor;
  readonly #parts: readonly { readonly r: number; readonly dropout: number }[];
  readonly #drops: boolean;

  constructor(
    factors: readonly (Factors | null)[],
    private readonly place: number,
    weight: number,
  ) {
    const there = factors.filter((one) => one !== null);
    this.#parts = there.map(({ r, dropout }) => ({ r, dropout }));
    this.#drops = there.some(({ dropout }) => dropout > 0);
    this.#a = keep(tidy(() => f32Copy(cat(there.map(({ a }) => a)))));
    this.#b = keep(
      tidy(() =>
        f32Copy(
          cat(
            there.map(({ b }) => b),
            1,
          ),
        ),
      ),
    );
    const ranks = there.reduce((sum, { r }) => sum + r, 0);
    const spread = new Float32Array(factors.length * ranks);
    let at = 0;
    for (const [i, one] of factors.entries()) {
      if (!one) continue;
      spread.fill(weight * one.scale, i * ranks + at, i * ranks + at + one.r);
      at += one.r;
    }
    this.#spread = keep(tidy(() => f32Copy(tensor(spread, [factors.length, ranks]))));
  }

  after(y: Tensor, x: Tensor, ctx: LinearContext): Tensor {
    const { scalings, alone } = ctx;
    if (!scalings) return y;
    return tidy(() => {
      // [n, places, N] → [n, R]
      const weights = matmul(select(scalings, 1, this.place), this.#spread);
      const low = mul(this.#low(x, ctx), to(weights, x.dtype));
      const ups = transpose(to(this.#b, y.dtype), 0, 1);
      return (alone ? addmm_ : addmm)(y, low, ups);
    });
  }

  dispose(): void {
    for (const one of [this.#a, this.#b, this.#spread]) one.dispose();
  }

  /** Returns x Aᵀ [n, R], with dropout. */
  #low(x: Tensor, { training, key, module }: LinearContext): Tensor {
    const a = to(this.#a, x.dtype);
    if (!training || !this.#drops) return linear(x, a);
    let at = 0;
    const each = this.#parts.map(({ r, dropout }, i) => {
      const site = module + i * STREAMS;
      const seen = dropout > 0 ? counterDropout(x, dropout, { ...key, site }) : x;
      at += r;
      return linear(seen, narrow(a, 0, at - r, r));
    });
    return cat(each, 1);
  }
}
