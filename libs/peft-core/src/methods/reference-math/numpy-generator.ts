/**
 * NumPy's `default_rng(seed)`, as far as PEFT uses it: PCG64 (XSL-RR 128/64) seeded by SeedSequence, with `choice`
 * without replacement and `shuffle`.
 */
const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const WORDS = 4;

export class NumpyGenerator {
  #state: bigint;
  readonly #increment: bigint;
  /** Unused upper half of the last 64 bits. */
  #half: number | null = null;

  /** @param seed integer ≥ 0 */
  constructor(seed: number) {
    const words = seedWords(seed);
    const wide = (i: number): bigint =>
      (((BigInt(words[i + 1] as number) << 32n) | BigInt(words[i] as number)) << 64n) |
      ((BigInt(words[i + 3] as number) << 32n) | BigInt(words[i + 2] as number));
    this.#increment = ((wide(4) << 1n) | 1n) & MASK_128;
    this.#state = this.#next(0n);
    this.#state = this.#next((this.#state + wide(0)) & MASK_128);
  }

  #next(state: bigint): bigint {
    return (state * MULTIPLIER + this.#increment) & MASK_128;
  }

  /** Returns 32 random bits. */
  #bits(): number {
    if (this.#half !== null) {
      const waiting = this.#half;
      this.#half = null;
      return waiting;
    }
    this.#state = this.#next(this.#state);
    const folded = (this.#state >> 64n) ^ (this.#state & MASK_64);
    const turn = this.#state >> 122n;
    const value = ((folded >> turn) | (folded << ((64n - turn) & 63n))) & MASK_64;
    this.#half = Number(value >> 32n);
    return Number(value & 0xffffffffn);
  }

  /** Returns a uniform integer in 0 … last (Lemire, arXiv:1805.10941). */
  #upTo(last: number): number {
    if (last === 0) return 0;
    const count = BigInt(last + 1);
    let product = BigInt(this.#bits()) * count;
    if ((product & 0xffffffffn) < count) {
      const threshold = (0xffffffffn - BigInt(last)) % count;
      while ((product & 0xffffffffn) < threshold) product = BigInt(this.#bits()) * count;
    }
    return Number(product >> 32n);
  }

  /** Same as `#upTo`, by rejection sampling. */
  #within(last: number): number {
    const mask = last === 0 ? 0 : 0xffffffff >>> Math.clz32(last);
    for (;;) {
      const drawn = (this.#bits() & mask) >>> 0;
      if (drawn <= last) return drawn;
    }
  }

  /** Shuffles in place. */
  shuffle(values: Int32Array): void {
    for (let i = values.length - 1; i >= 1; i--) exchange(values, i, this.#within(i));
  }

  /** Shuffles in place from the end to `first`, as `choice` does. */
  #shuffleChosen(values: Int32Array, first = 1): void {
    for (let i = values.length - 1; i >= first; i--) exchange(values, i, this.#upTo(i));
  }

  /** Returns `size` distinct integers below `population`. */
  choice(population: number, size: number): Int32Array {
    if (population > TAIL_FROM && size > Math.floor(population / TAIL_SHARE)) {
      const all = Int32Array.from({ length: population }, (_, i) => i);
      this.#shuffleChosen(all, Math.max(population - size, 1));
      return all.slice(population - size);
    }
    // Floyd's algorithm
    const taken = new Set<number>();
    for (let last = population - size; last < population; last++) {
      const drawn = this.#upTo(last);
      taken.add(taken.has(drawn) ? last : drawn);
    }
    const chosen = Int32Array.from(taken);
    this.#shuffleChosen(chosen);
    return chosen;
  }
}

function exchange(values: Int32Array, i: number, j: number): void {
  const value = values[i] as number;
  values[i] = values[j] as number;
  values[j] = value;
}

/** Population from which NumPy shuffles the tail if many values are chosen. */
const TAIL_FROM = 10_000;
const TAIL_SHARE = 50;

/** Returns eight words of SeedSequence(seed). */
function seedWords(seed: number): number[] {
  const pool = mixed([seed % 2 ** 32, Math.floor(seed / 2 ** 32)]);
  const hash = hasher(0x8b51f9dd, 0x58f38ded);
  return Array.from({ length: 2 * WORDS }, (_, i) => hash(pool[i % WORDS] as number));
}

function mixed(entropy: readonly number[]): number[] {
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: WORDS }, (_, i) => hash(entropy[i] ?? 0));
  for (let from = 0; from < WORDS; from++)
    for (let into = 0; into < WORDS; into++)
      if (from !== into) pool[into] = mix(pool[into] as number, hash(pool[from] as number));
  return pool;
}

function hasher(initial: number, multiplier: number): (value: number) => number {
  let constant = initial;
  return (value) => {
    const xored = value ^ constant;
    constant = Math.imul(constant, multiplier);
    const product = Math.imul(xored, constant);
    return (product ^ (product >>> 16)) >>> 0;
  };
}

function mix(x: number, y: number): number {
  const difference = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) | 0;
  return (difference ^ (difference >>> 16)) >>> 0;
}
