/**
 * Frozen LoRAs at one linear, weighed row by row (xlora.ts):   y ← y + g Σ_i s_i ⊙ scale_i (x A_iᵀ) B_iᵀ
 *
 * All of them are one product of each kind: A [R, in] and B [out, R], R the sum of their ranks, and between them
 * s E [n, R] with E [N, R], which has g scale_i at the ranks of LoRA i.
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

/** A LoRA at a linear. */
export interface Factors extends LoraSize {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly dropout: number;
}

/** Streams of random numbers of one module, apart from those of others. */
export const STREAMS = 1 << 24;

/** The LoRAs at one linear. */
export class MixedLinear implements LinearAdapter {
  /** Of all LoRAs at it. A: [R, in]  B: [out, R] */
  readonly #a: Tensor;
  readonly #b: Tensor;
  /** [N, R]: from weights of LoRAs to those of ranks. */
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

  /** [n, R] */
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
