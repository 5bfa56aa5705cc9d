/**
 * What a head reads of all layers in the place of the last, as transformers' models of sounds with use_weighted_layer_sum:
 *
 *   s = Σ softmax(w)_i h_i,  i = 0 … L      w: [L + 1], the head's      h_i, s: [n, D]
 *
 * h_0 is what the first block reads, h_L the last hidden states: as the stack's norm makes them, or as the last block does,
 * by family. Products are in the base's dtype, their sum in f32.
 */
import { add, mul, narrow, softmax, tidy, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import { byRun } from '../rows.js';

/** Which of the last hidden states the sum takes: the normed ones, or those that are not. */
export type LastOfSum = 'normed' | 'as_made';

/** What the heads of a batch's runs read of the layers. */
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
    // autograd keeps nothing of it
    if (before && before !== this.#total) before.dispose();
  }

  /** s, in the rows' dtype. @param made what the last block gave, [n, D] @param normed the same as the stack's norm makes it */
  total(layer: number, made: Tensor, normed: Tensor): Tensor {
    this.add(layer, this.layers.last === 'normed' ? normed : made);
    return to(this.#total as Tensor, made.dtype);
  }
}
