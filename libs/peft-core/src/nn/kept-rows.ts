/** How many numbers a sequence that is continued keeps in a stack (kv-cache.ts). Native-free. */
import type { StackOptions } from './outline/stack-options.js';

/** How many of the layers before one have keys and values. */
export const keptLayers = (
  { convolutions }: Pick<StackOptions, 'convolutions'>,
  before: number,
): number => before - (convolutions?.layers.slice(0, before).filter((is) => is).length ?? 0);

/** Keys and values of a row in so many layers. */
export const keptOfRow = (layers: number, heads: number, headDim: number): number =>
  2 * layers * heads * headDim;

/**
 * What layers that convolve keep of a sequence, at most: of the rows so far, of those before the last, and, while a
 * forward runs, of those to come.
 */
export function keptOfConvolutions({
  convolutions,
  hiddenSize,
}: Pick<StackOptions, 'convolutions' | 'hiddenSize'>): number {
  const count = convolutions?.layers.filter((is) => is).length ?? 0;
  return 3 * count * ((convolutions?.width ?? 1) - 1) * hiddenSize;
}
