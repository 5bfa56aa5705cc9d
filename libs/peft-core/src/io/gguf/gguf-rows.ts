// Maps the stored rows of a GGUF file to Hugging Face's rows. gguf-format.ts has the orders. Loads no native code.
import type { GgufRows } from '../../models/frame/gguf-format.js';

/** Maps a stored row to its target row. */
export type RowOrder = (row: number) => number;

/** Returns the row order; null if the rows do not divide into this many heads. */
export function rowOrder(rows: number, kind: GgufRows, heads: number): RowOrder | null {
  if (rows % ((kind === 'pairs' ? 2 : 3) * heads)) return null;
  if (kind === 'pairs') {
    const size = rows / heads;
    return (row) => {
      const within = row % size;
      return row - within + (within >> 1) + (within & 1) * (size / 2);
    };
  }
  const size = rows / (3 * heads);
  return (row) => {
    const [third, head] = [Math.floor(row / (heads * size)), Math.floor(row / size) % heads];
    return (3 * head + third) * size + (row % size);
  };
}
