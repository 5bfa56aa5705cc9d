/**
 * Weighted sum of all layers, which a head reads instead of the last hidden states. Used by Transformers'
 * audio models with use_weighted_layer_sum:
 *
 *   s = Σ softmax(w)_i h_i,  i = 0 … L      w: [L + 1], the head's      h_i, s: [n, D]
 *
 * h_0 is the input of the first block. h_L are the last hidden states, with or without the stack's final
 * norm, depending on the family. Products are in the base's dtype, their sum in f32.
 */
import { add, mul, narrow, softmax, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import { byRun } from '../rows.js';

/** Last hidden states in the sum: with the final norm, or as the last block returns them. */
export type LastOfSum = 'normed' | 'as_made';

/** Layer sums of a batch's heads. */
export interface SummedLayers {
  /** w of each run. */
  readonly weights: ReadonlyMap<number, Tensor>;
  readonly last: LastOfSum;
}

export class LayerSum {
  readonly #shares: ReadonlyMap<number, Tensor>;
  #total: Tensor | null = null;

  constructor(
    private readonly layers: SummedLayers,
    private readonly ctx: ForwardContext,
  ) {
    this.#shares = new Map([...layers.weights].map(([run, w]) => [run, softmax(to(w, 'f32'))]));
  }

  /** @param h [n, D], of all runs */
  add(layer: number, h: Tensor): void {
    const before = this.#total;
    this.#total = tidy(() => {
      const weighed = byRun(h, this.ctx, (rows, run) =>
        mul(rows, to(narrow(this.#shares.get(run) as Tensor, 0, layer, 1), rows.dtype)),
      );
      return before ? add(before, to(weighed, 'f32')) : to(weighed, 'f32');
    });
    // autograd does not need the previous sum
    if (before && before !== this.#total) before.dispose();
  }

  /**
   * Returns s, in the rows' dtype.
   * @param made output of the last block, [n, D]
   * @param normed the same after the stack's final norm
   */
  total(layer: number, made: Tensor, normed: Tensor): Tensor {
    this.add(layer, this.layers.last === 'normed' ? normed : made);
    return to(this.#total as Tensor, made.dtype);
  }
}
