// The order in which an epoch visits its examples. It is a pure function of (seed, epoch, n), so that a run
// can resume at any position. Example i has the key k(i) = mix(mix(seed, epoch), i), and examples are visited
// in ascending key order. mix is the finalizer of MurmurHash3 (public domain, Austin Appleby) over a Weyl
// sequence, 32 bits.

/**
 * Returns the indices 0…n-1 in the order of an epoch (counted from 0); in ascending order without `shuffle`.
 */
export function permutation(seed: number, epoch: number, n: number, shuffle: boolean): Uint32Array {
  const indices = Uint32Array.from({ length: n }, (_, i) => i);
  if (!shuffle) return indices;
  const [high, low] = [mix(mix(seed, epoch), 0), mix(mix(seed, epoch), 1)];
  // Keys have 53 random bits: equal keys are unlikely even among a million, and then the index decides.
  const keys = Float64Array.from(indices, (i) => mix(high, i) * 2 ** 21 + (mix(low, i) >>> 11));
  return indices.sort((a, b) => (keys[a] as number) - (keys[b] as number) || a - b);
}

/** Returns a 32-bit hash of two 32-bit numbers. */
function mix(a: number, b: number): number {
  let h = (a ^ Math.imul(b + 1, 0x9e3779b9)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Key of the random numbers of one example in one epoch. */
export interface DrawKey {
  readonly seed: number;
  readonly epoch: number;
  /** Index of the example among the training examples. */
  readonly place: number;
}

/** Returns a generator of numbers in [0, 1): a pure function of the key. */
export function draws({ seed, epoch, place }: DrawKey): () => number {
  // These keys differ from the keys of the order.
  const of = mix(mix(mix(seed, epoch), 2), place);
  let count = 0;
  return () => mix(of, count++) / 2 ** 32;
}
