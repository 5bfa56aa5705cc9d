/** Long work in pieces: a generator that yields where others may have their turn. */

/** How long a piece of making an adapter is, at most and but for what cannot be divided: that little delays nobody's answer. */
const PIECE_MS = 50;

/** All of it, without turns of others. */
export function atOnce<T>(work: Generator<unknown, T, undefined>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Yields once a piece has lasted long enough, asked after each step that is not divided. */
export class Pieces {
  #began = performance.now();

  constructor(private readonly ms = PIECE_MS) {}

  *step(): Generator<void, void, undefined> {
    if (performance.now() - this.#began < this.ms) return;
    yield;
    this.#began = performance.now();
  }
}
