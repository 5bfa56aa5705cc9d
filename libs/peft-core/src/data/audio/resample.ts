/**
 * Resampling as in soxr's `soxr_hq`, which transformers' `load_audio` uses:
 *   y[i] = Σ_k x[k] · F sinc(F (t − k)) · w((t − k) / h),  t = i · from / to,  F = f · min(1, to / from)
 * w(u) = I₀(β √(1 − u²)) / I₀(β) is the Kaiser window, h its half width in samples of x; f the middle of the
 * transition band, from PASSBAND to 1 of the smaller Nyquist frequency. PASSBAND, β and the filter's length
 * correspond to soxr's precision of 20 bits, with the digits that give the smallest difference.
 *
 * Energy of the difference from soxr 1.1 for white noise, where every frequency counts: −134 dB from 8 and 48
 * to 16 kHz; −56 dB where soxr converts through other rates (44.1, 11.025, 22.05 to 16 kHz). For a voice,
 * whose highest frequencies are weak: −85 dB. libsamplerate's best, whose band is wider: −26 dB from 44.1 to
 * 16 kHz, −55 dB for a voice.
 */
const PASSBAND = 0.913744;
const BETA = 13.04;
/**
 * Length in samples of a filter with this window and a transition band of 1: Kaiser's formula, as fitted by
 * soxr.
 */
const LENGTH = ((0.0007528358 - 1.577737e-5 * BETA) * BETA + 0.6248022) * BETA + 0.06186902;

/**
 * Maximum number of phases with precomputed weights. For ratios with more phases, weights are interpolated
 * linearly between the two nearest, a difference of −140 dB for white noise. Computing them for each sample
 * took 0.4 to 4 s per second of audio (now 0.1 to 0.5).
 */
const MAX_PHASES = 2048;

/** @returns ceil(length · to / from) samples */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return samples;
  const { up, down, filter, weightsAt } = between(from, to);
  return new Float32Array(Math.ceil((samples.length * to) / from)).map((_, i) => {
    const whole = Math.floor((i * down) / up);
    const weights = weightsAt(i * down - whole * up);
    const first = whole - filter.reach;
    const [begin, end] = [Math.max(0, -first), Math.min(weights.length, samples.length - first)];
    let sum = 0;
    for (let k = begin; k < end; k++) sum += (weights[k] ?? 0) * (samples[first + k] ?? 0);
    return sum;
  });
}

interface Between {
  readonly up: number;
  readonly down: number;
  readonly filter: Filter;
  weightsAt(phase: number): Float64Array;
}

/**
 * Number of cached pairs of rates: a data set has few, and computing weights takes longer than a short clip.
 */
const KEPT = 4;
const kept = new Map<string, Between>();

function between(from: number, to: number): Between {
  const key = `${from} ${to}`;
  const known = kept.get(key);
  if (known) return known;
  const divisor = greatestCommonDivisor(from, to);
  const [up, down] = [to / divisor, from / divisor];
  const limit = Math.min(1, to / from);
  const filter = designed(limit, down === 1 ? up : 1);
  const weightsAt = up <= MAX_PHASES ? keptWeights(filter, up) : betweenWeights(filter, up, limit);
  const made = { up, down, filter, weightsAt };
  kept.set(key, made);
  for (const oldest of kept.keys()) if (kept.size > KEPT) kept.delete(oldest);
  return made;
}

type WeightsAt = Between['weightsAt'];

function keptWeights(filter: Filter, phases: number): WeightsAt {
  const made = new Map<number, Float64Array>();
  return (phase) => {
    const weights = made.get(phase) ?? filter.weights(phase / phases);
    made.set(phase, weights);
    return weights;
  };
}

/** @param limit upper end of the filter's band: a narrower filter changes more slowly and is longer */
function betweenWeights(filter: Filter, up: number, limit: number): WeightsAt {
  const phases = Math.ceil(MAX_PHASES * limit);
  const at = keptWeights(filter, phases);
  return (phase) => {
    const place = (phase / up) * phases;
    const [before, share] = [Math.floor(place), place % 1];
    const [low, high] = [at(before), at(before + 1)];
    return low.map((weight, k) => weight + share * ((high[k] ?? 0) - weight));
  };
}

interface Filter {
  /** Number of weighted samples before sample ⌊t⌋, where t is an output position in input samples. */
  readonly reach: number;
  /** Weights of consecutive input samples, starting `reach` before sample ⌊t⌋. `fraction` is t - ⌊t⌋. */
  weights(fraction: number): Float64Array;
}

/** @param finer sampling rate of the filter divided by the input's */
function designed(limit: number, finer: number): Filter {
  const fall = 0.5 * (1 - PASSBAND) * limit;
  const cutoff = limit - fall;
  // one more than a multiple of four; the window extends half a step beyond the first and the last
  const taps = 4 * Math.ceil((LENGTH * finer) / fall / 4) + 1;
  const half = taps / 2 / finer;
  const reach = Math.ceil(half);
  const top = besselI0(BETA);
  return {
    reach,
    weights: (fraction) =>
      Float64Array.from({ length: 2 * reach + 2 }, (_, k) => {
        const distance = fraction + reach - k;
        const place = distance / half;
        if (Math.abs(place) >= 1) return 0;
        const window = besselI0(BETA * Math.sqrt(1 - place * place)) / top;
        return cutoff * sinc(cutoff * distance) * window;
      }),
  };
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** I₀(x) = Σ_n ((x/2)ⁿ / n!)² */
function besselI0(x: number): number {
  let [term, sum] = [1, 1];
  for (let n = 1; term > 1e-17 * sum; n++) {
    term *= (x / (2 * n)) ** 2;
    sum += term;
  }
  return sum;
}

const greatestCommonDivisor = (a: number, b: number): number => {
  let [larger, smaller] = [a, b];
  while (smaller > 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
};
