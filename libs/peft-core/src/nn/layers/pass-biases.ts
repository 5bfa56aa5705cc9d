/** Distance biases of attention scores: converts a stack's option to the kernel's bias. */
import { arange, BiasCache, div, mul, tensor, to, unsqueeze } from '@graft/kernels';
import type { AttentionBias, Tensor } from '@graft/kernels';
import type { Embedding } from './embedding.js';
import type { StackOptions } from '../outline/stack-options.js';

/** Biases of one forward pass, cached by slopes or table: all layers share one bias tensor. */
export class PassBiases {
  readonly #caches = new Map<Tensor, BiasCache>();

  /** Returns a function from run to bias. `table` is the table of a relative bias. */
  pattern(
    bias: NonNullable<StackOptions['bias']>,
    {
      options,
      table,
      places,
      hasVirtual,
    }: {
      readonly options: StackOptions;
      readonly table: Embedding | null;
      /** Number of key positions in the pass, from 0. */
      readonly places: number;
      readonly hasVirtual: (run: number) => boolean;
    },
  ): (run: number) => AttentionBias {
    const { heads, attention } = options;
    if (bias.kind === 'alibi') {
      const slopes = tensor(alibiSlopes(heads), [heads]);
      return () => ({ kind: 'alibi', slopes, cache: this.#of(slopes) });
    }
    if (bias.kind === 'alibi_bf16') {
      const rounded = to(tensor(alibiSlopes(heads), [heads]), 'bf16');
      const root = Math.sqrt(options.headDim);
      const slopes = div(to(rounded, 'f32'), root);
      const each = to(arange(0, places), 'bf16');
      const byPlace = div(to(mul(unsqueeze(rounded, 1), each), 'f32'), root);
      return (run) =>
        hasVirtual(run)
          ? { kind: 'alibi', slopes, cache: this.#of(slopes) }
          : { kind: 'places', table: byPlace };
    }
    const { maxDistance } = bias;
    const bidirectional = attention === 'bidirectional';
    return (run) => {
      const own = (table as Embedding).of(run);
      return { kind: 'relative', table: own, maxDistance, bidirectional, cache: this.#of(own) };
    };
  }

  #of(numbers: Tensor): BiasCache {
    const cache = this.#caches.get(numbers) ?? new BiasCache();
    this.#caches.set(numbers, cache);
    return cache;
  }

  dispose(): void {
    for (const cache of this.#caches.values()) cache.dispose();
  }
}

/**
 * ALiBi slopes of H heads, arXiv:2108.12409: 2^(-8i/n), i = 1 … n, where n is H rounded up to a power of two.
 * If n > H, the slopes of even i come first, as in BLOOM and MPT.
 */
function alibiSlopes(heads: number): Float32Array {
  const n = 2 ** Math.ceil(Math.log2(heads));
  const all = Array.from({ length: n }, (_, i) => 2 ** ((-8 * (i + 1)) / n));
  if (n === heads) return Float32Array.from(all);
  const ordered = [...all.filter((_, i) => i % 2 === 1), ...all.filter((_, i) => i % 2 === 0)];
  return Float32Array.from(ordered.slice(0, heads));
}
