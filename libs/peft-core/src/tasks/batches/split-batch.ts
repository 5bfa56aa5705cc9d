// Batches that a task gets whole (`wholeBatches`) go through the base in pieces, which bound the memory of a forward.
import type { BatchContext } from '../../nn/context.js';

/** Of one forward with what its backward needs. */
export const PIECE_ROWS = 2048;
/** Numbers of a step's forwards lie below this (48 bits are there for them): the pieces of one have numbers above it. */
const FORWARDS = 2 ** 40;
const PIECES = 256;

/** In order, at most `PIECE_ROWS` each; a longer one goes alone. @param rowsOf those that a forward gets for one */
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

/** Pieces of one batch share no dropout mask, and each has the same one whenever it comes. */
export const numbered = (ctx: BatchContext, piece: number): BatchContext => ({
  ...ctx,
  runs: new Map(
    [...ctx.runs].map(([run, { seed, step }]) => [
      run,
      { seed, step: step + FORWARDS * (piece % PIECES) },
    ]),
  ),
});
