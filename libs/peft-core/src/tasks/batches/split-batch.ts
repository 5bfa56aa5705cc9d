// Splits whole batches (`wholeBatches`) into parts, to limit the memory of a forward pass.
import type { BatchContext } from '../../nn/context.js';

/** Maximum rows of one forward pass with the activations for its backward pass. */
export const PIECE_ROWS = 2048;
/** Upper bound of `step`, which has 48 bits in total: the index of the part is stored in the upper 8. */
const FORWARDS = 2 ** 40;
const PIECES = 256;

/**
 * Splits items into parts of at most `PIECE_ROWS` rows, in order. A longer item is a part of its own.
 * @param rowsOf number of rows of an item in a forward pass
 */
export function pieces<T>(all: readonly T[], rowsOf: (one: T) => number): T[][] {
  const found: T[][] = [];
  let rows = Infinity;
  for (const one of all) {
    rows += rowsOf(one);
    if (rows > PIECE_ROWS) {
      found.push([]);
      rows = rowsOf(one);
    }
    found.at(-1)?.push(one);
  }
  return found;
}

/** Gives each part of a batch its own dropout mask, the same one every time. */
export const numbered = (ctx: BatchContext, piece: number): BatchContext => ({
  ...ctx,
  runs: new Map(
    [...ctx.runs].map(([run, { seed, step }]) => [
      run,
      { seed, step: step + FORWARDS * (piece % PIECES) },
    ]),
  ),
});
