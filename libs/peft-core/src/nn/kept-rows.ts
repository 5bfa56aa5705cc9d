/** Number of cached values of a sequence in a stack (see kv-cache.ts). Loads no native code. */
import type { StackOptions } from './outline/stack-options.js';

/** Returns how many of the layers before this one have keys and values. */
export const cachedLayers = (
  { convolutions }: Pick<StackOptions, 'convolutions'>,
  before: number,
): number => before - (convolutions?.layers.slice(0, before).filter((is) => is).length ?? 0);

/** Returns the number of key and value elements of one row in this many layers. */
export const cachedPerRow = (layers: number, heads: number, headDim: number): number =>
  2 * layers * heads * headDim;

/**
 * Returns the largest number of elements that convolution layers cache of a sequence: the state after all rows, the
 * state before the last rows, and, during a forward pass, the next state.
 */
export function cachedByConvolutions({
  convolutions,
  hiddenSize,
}: Pick<StackOptions, 'convolutions' | 'hiddenSize'>): number {
  const count = convolutions?.layers.filter((is) => is).length ?? 0;
  return 3 * count * ((convolutions?.width ?? 1) - 1) * hiddenSize;
}
