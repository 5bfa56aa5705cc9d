/**
 * Triangular filters, evenly spaced on a mel scale: transformers' `mel_filter_bank`.
 *   w[m, f] = max(0, min((f − c_{m−1}) / (c_m − c_{m−1}), (c_{m+1} − f) / (c_{m+1} − c_m)))
 * c are the points of the scale: in Hz for Slaney's (linear to 1 kHz, logarithmic above; triangles have equal
 * area), on the scale itself for Kaldi's (1127 ln(1 + f / 700)).
 */
export interface MelFilters {
  readonly bins: number;
  readonly filters: number;
  /** [filters, bins] */
  readonly weights: Float64Array;
}

interface FilterOptions {
  /** Bins of the spectrum, including zero frequency and Nyquist. */
  readonly bins: number;
  readonly filters: number;
  readonly from: number;
  readonly to: number;
  readonly samplingRate: number;
}

export function slaneyFilters(options: FilterOptions): MelFilters {
  const points = spaced(slaney(options.from), slaney(options.to), options.filters + 2).map(
    slaneyHertz,
  );
  const bins = spaced(0, Math.floor(options.samplingRate / 2), options.bins);
  return triangles(points, bins, (m) => 2 / (at(points, m + 2) - at(points, m)));
}

export function kaldiFilters(options: FilterOptions): MelFilters {
  const points = spaced(kaldi(options.from), kaldi(options.to), options.filters + 2);
  const width = options.samplingRate / (2 * (options.bins - 1));
  const bins = Array.from({ length: options.bins }, (_, bin) => kaldi(bin * width));
  return triangles(points, bins, () => 1);
}

function triangles(
  points: readonly number[],
  bins: readonly number[],
  scale: (filter: number) => number,
): MelFilters {
  const filters = points.length - 2;
  const weights = new Float64Array(filters * bins.length);
  for (let m = 0; m < filters; m++) {
    const [low, centre, high] = [at(points, m), at(points, m + 1), at(points, m + 2)];
    bins.forEach((f, bin) => {
      const height = Math.min((f - low) / (centre - low), (high - f) / (high - centre));
      weights[m * bins.length + bin] = Math.max(0, height) * scale(m);
    });
  }
  return { bins: bins.length, filters, weights };
}

const [KNEE_HERTZ, KNEE_MEL, STEP] = [1000, 15, 27 / Math.log(6.4)];
const slaney = (hertz: number): number =>
  hertz < KNEE_HERTZ ? (3 * hertz) / 200 : KNEE_MEL + Math.log(hertz / KNEE_HERTZ) * STEP;
const slaneyHertz = (mel: number): number =>
  mel < KNEE_MEL ? (200 * mel) / 3 : KNEE_HERTZ * Math.exp((mel - KNEE_MEL) / STEP);
const kaldi = (hertz: number): number => 1127 * Math.log(1 + hertz / 700);

const spaced = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, n) => from + ((to - from) * n) / (count - 1));
const at = (values: readonly number[], index: number): number => values[index] ?? NaN;
