/** Long work in slices: a generator that yields where other work may run. */

/**
 * Longest time slice in ms while an adapter is created, except for indivisible steps. Short enough not to delay
 * responses.
 */
const PIECE_MS = 50;

/** Runs the work to its end without yielding to other work. */
export function atOnce<T>(work: Generator<unknown, T, undefined>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Yields when the current time slice is used up. Checked after each indivisible step. */
export class Pieces {
  #began = performance.now();

  constructor(private readonly ms = PIECE_MS) {}

  *step(): Generator<void, void, undefined> {
    if (performance.now() - this.#began < this.ms) return;
    yield;
    this.#began = performance.now();
  }
}
