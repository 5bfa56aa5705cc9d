/**
 * scikit-learn's KMeans(k, init="random", n_init=1, max_iter, random_state): Lloyd's algorithm from points chosen by
 * NumPy's RandomState, which is MT19937 like PyTorch's generator. It computes in f64, scikit-learn in f32: clusters
 * differ only for points whose distances to two centers are equal within that rounding.
 */
import { TorchGenerator } from './torch-generator.js';

/** Convergence threshold, relative to the variance: centers that move less have converged. */
const TOLERANCE = 1e-4;

export interface KMeansOptions {
  readonly clusters: number;
  readonly rounds: number;
  readonly seed: number;
}

/** Points in row-major order. */
interface Points {
  readonly values: Float64Array;
  readonly count: number;
  readonly width: number;
}

/** Returns the cluster of each of `count` points. @param values row by row; at least as many rows as clusters */
export function kMeans(
  values: ArrayLike<number>,
  count: number,
  { clusters, rounds, seed }: KMeansOptions,
): Int32Array {
  const width = values.length / count;
  const points = { values: centered(values, width), count, width };
  const least = (TOLERANCE * squares(points.values)) / points.values.length;
  let centers = rowsOf(points, chosen(count, clusters, seed));
  let before: Int32Array = new Int32Array(count).fill(-1);
  for (let round = 0; round < rounds; round++) {
    const labels = nearest(points, centers);
    const next = means(points, labels, centers);
    const moved = squares(next.map((value, i) => value - (centers[i] as number)));
    centers = next;
    if (labels.every((label, i) => label === before[i])) return labels;
    if (moved <= least) break;
    before = labels;
  }
  return nearest(points, centers);
}

const squares = (values: Float64Array): number =>
  values.reduce((sum, value) => sum + value * value, 0);

function centered(values: ArrayLike<number>, width: number): Float64Array {
  const mean = new Float64Array(width);
  const count = values.length / width;
  for (let i = 0; i < values.length; i++)
    mean[i % width] = (mean[i % width] as number) + (values[i] as number) / count;
  return Float64Array.from(values, (value, i) => value - (mean[i % width] as number));
}

/** Returns RandomState(seed).choice(count, size, replace=False, p=…) with equal weights. */
function chosen(count: number, size: number, seed: number): number[] {
  const generator = new TorchGenerator(seed);
  const unit = (): number => {
    const [high, low] = [generator.bits() >>> 5, generator.bits() >>> 6];
    return (high * 67_108_864 + low) / 9_007_199_254_740_992;
  };
  // scikit-learn's weights are f32
  const weights = new Float64Array(count).fill(Math.fround(1 / count));
  const found = new Set<number>();
  while (found.size < size) {
    const draws = Array.from({ length: size - found.size }, unit);
    for (const taken of found) weights[taken] = 0;
    const sums = new Float64Array(count);
    weights.reduce((sum, weight, i) => (sums[i] = sum + weight), 0);
    const whole = sums[count - 1] as number;
    for (const draw of draws) found.add(firstAbove(sums, draw, whole));
  }
  return [...found];
}

/** Returns the first index whose cumulative share exceeds `draw`. */
function firstAbove(sums: Float64Array, draw: number, whole: number): number {
  let [low, high] = [0, sums.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sums[middle] as number) / whole > draw) high = middle;
    else low = middle + 1;
  }
  return low;
}

function rowsOf({ values, width }: Points, places: readonly number[]): Float64Array {
  const rows = new Float64Array(places.length * width);
  places.forEach((place, i) =>
    rows.set(values.subarray(place * width, (place + 1) * width), i * width),
  );
  return rows;
}

function distance(
  { values, width }: Points,
  point: number,
  centers: Float64Array,
  c: number,
): number {
  let sum = 0;
  for (let j = 0; j < width; j++)
    sum += ((values[point * width + j] as number) - (centers[c * width + j] as number)) ** 2;
  return sum;
}

function nearest(points: Points, centers: Float64Array): Int32Array {
  const clusters = centers.length / points.width;
  return Int32Array.from({ length: points.count }, (_, point) => {
    let [best, label] = [Infinity, 0];
    for (let c = 0; c < clusters; c++) {
      const far = distance(points, point, centers, c);
      if (far < best) [best, label] = [far, c];
    }
    return label;
  });
}

/** Returns the means of the clusters. An empty cluster gets the point that is farthest from its center. */
function means(points: Points, labels: Int32Array, centers: Float64Array): Float64Array {
  const { values, count, width } = points;
  const clusters = centers.length / width;
  const owners = Int32Array.from(labels);
  const sizes = new Int32Array(clusters);
  for (const label of labels) sizes[label] = (sizes[label] as number) + 1;
  const empty = [...sizes.keys()].filter((cluster) => sizes[cluster] === 0);
  if (empty.length > 0) {
    const far = Float64Array.from(labels, (label, i) => distance(points, i, centers, label));
    const order = [...far.keys()].sort((a, b) => (far[b] as number) - (far[a] as number));
    // with more clusters than distinct points, no point can be moved
    if ((far[order[0] as number] as number) > 0)
      empty.forEach((cluster, i) => {
        const point = order[i] as number;
        const owner = owners[point] as number;
        sizes[owner] = (sizes[owner] as number) - 1;
        [owners[point], sizes[cluster]] = [cluster, 1];
      });
  }
  const sums = new Float64Array(centers.length);
  for (let i = 0; i < count; i++)
    for (let j = 0; j < width; j++) {
      const at = (owners[i] as number) * width + j;
      sums[at] = (sums[at] as number) + (values[i * width + j] as number);
    }
  return sums.map((sum, at) => {
    const cluster = Math.floor(at / width);
    const size = sizes[cluster] as number;
    return size > 0 ? sum / size : (centers[at] as number);
  });
}
