/**
 * PyTorch's random number generator on a CPU, so that matrices drawn from a key equal PEFT's: MT19937, with `uniform_`
 * (and `rand`), `normal` and `randperm`.
 */
const STATE = 624;
const SHIFT = 397;
/** Number of normal values that PyTorch computes at a time. */
const NORMALS = 16;

/** Size from which PyTorch uses another permutation algorithm, which determines the first elements last. */
export const WIDE_PERMUTATION = Math.floor((2 ** 32 - 1) / 20);

/** Default seed of a PyTorch generator. */
export const DEFAULT_SEED = 67280421310721;

export class TorchGenerator {
  readonly #state = new Uint32Array(STATE);
  #at = STATE;

  constructor(seed = DEFAULT_SEED) {
    const state = this.#state;
    state[0] = seed % 2 ** 32;
    for (let i = 1; i < STATE; i++) {
      const last = state[i - 1] as number;
      state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
  }

  /** Returns 32 random bits. */
  bits(): number {
    if (this.#at === STATE) this.#renew();
    let y = this.#state[this.#at++] as number;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #renew(): void {
    const state = this.#state;
    for (let i = 0; i < STATE; i++) {
      const next = state[(i + 1) % STATE] as number;
      const y = ((state[i] as number) & 0x80000000) | (next & 0x7fffffff);
      state[i] = (state[(i + SHIFT) % STATE] as number) ^ (y >>> 1) ^ (next & 1 ? 0x9908b0df : 0);
    }
    this.#at = 0;
  }

  /**
   * Returns `size` values in [from, to), as `torch.empty(size).uniform_(from, to)` in f32. It rounds once, as
   * processors with fused multiply-add (AVX2) do; on others, PyTorch's last bit may differ.
   */
  uniform(size: number, from: number, to: number): Float32Array {
    const start = Math.fround(from);
    const range = Math.fround(Math.fround(to) - start);
    const drawn = new Float32Array(size);
    // in double precision the product and the sum are exact
    for (let i = 0; i < size; i++) drawn[i] = (this.bits() & 0xffffff) * 2 ** -24 * range + start;
    return drawn;
  }

  /**
   * Returns `size` values of N(0, deviation²), as `torch.normal` in f32. From 16 values on it uses Box-Muller in blocks
   * of 16, and draws the last 16 again if the size is not a multiple of 16. Fewer values are drawn in double precision,
   * in pairs. The last bits of logarithms and angles may differ.
   */
  normal(size: number, deviation: number): Float32Array {
    if (size < NORMALS) return this.#fewNormals(size, deviation);
    const drawn = this.uniform(size, 0, 1);
    for (let at = 0; at + NORMALS <= size; at += NORMALS) toNormals(drawn, at, deviation);
    if (size % NORMALS !== 0) {
      drawn.set(this.uniform(NORMALS, 0, 1), size - NORMALS);
      toNormals(drawn, size - NORMALS, deviation);
    }
    return drawn;
  }

  /** Returns `size` values of N(0, 1), as `torch.randn` in f64. */
  normal64(size: number): Float64Array {
    const drawn = new Float64Array(size);
    if (size < NORMALS) return this.#pairs(drawn);
    const unit = (): number => this.#unit();
    for (let i = 0; i < size; i++) drawn[i] = unit();
    for (let at = 0; at + NORMALS <= size; at += NORMALS) toNormals(drawn, at, 1);
    if (size % NORMALS !== 0) {
      for (let i = size - NORMALS; i < size; i++) drawn[i] = unit();
      toNormals(drawn, size - NORMALS, 1);
    }
    return drawn;
  }

  #unit(): number {
    const [high, low] = [this.bits(), this.bits()];
    return ((high & 0x1fffff) * 2 ** 32 + low) * 2 ** -53;
  }

  #fewNormals(size: number, deviation: number): Float32Array {
    return Float32Array.from(this.#pairs(new Float64Array(size)), (value) => value * deviation);
  }

  #pairs(drawn: Float64Array): Float64Array {
    for (let i = 0; i < drawn.length; i += 2) {
      const [angle, rest] = [2 * Math.PI * this.#unit(), this.#unit()];
      const radius = Math.sqrt(-2 * Math.log1p(-rest));
      drawn[i] = radius * Math.cos(angle);
      if (i + 1 < drawn.length) drawn[i + 1] = radius * Math.sin(angle);
    }
    return drawn;
  }

  /** Advances the generator by a number of draws. */
  skip(draws: number): void {
    for (let i = 0; i < draws; i++) this.bits();
  }

  /**
   * Returns the first `count` elements of `torch.randperm(size)`; only those are swapped. @throws RangeError for sizes
   * from WIDE_PERMUTATION on
   */
  permutation(size: number, count: number): Int32Array {
    if (size >= WIDE_PERMUTATION) throw new RangeError(`cannot permute ${size} numbers`);
    const moved = new Map<number, number>();
    return Int32Array.from({ length: count }, (_, i) => {
      if (i === size - 1) return moved.get(i) ?? i;
      const other = i + (this.bits() % (size - i));
      const picked = moved.get(other) ?? other;
      moved.set(other, moved.get(i) ?? i);
      return picked;
    });
  }
}

/** Converts eight pairs of U(0, 1), eight apart, to pairs of N(0, deviation²). */
function toNormals(numbers: Float32Array | Float64Array, at: number, deviation: number): void {
  for (let i = at; i < at + NORMALS / 2; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - (numbers[i] as number)));
    const angle = 2 * Math.PI * (numbers[i + NORMALS / 2] as number);
    numbers[i] = radius * Math.cos(angle) * deviation;
    numbers[i + NORMALS / 2] = radius * Math.sin(angle) * deviation;
  }
}
