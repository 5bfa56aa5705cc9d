// Which row of Hugging Face's a stored row of a GGUF file is; gguf-format.ts has the orders. Native-free.
import type { GgufRows } from '../../models/frame/gguf-format.js';

/** Where a stored row belongs. */
export type RowOrder = (row: number) => number;

/** Null where rows are not those of so many heads. */
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
