/**
 * AdaMSS's clusters of the outputs of a linear layer, as in PEFT: by the rows of U [out, r] of
 *   [W b] ≈ U Σ V      two rounds of subspace iteration from seeded random values (torch.svd_lowrank)
 * in k clusters (k-means.ts). V: [r, in], or [r, in + 1] with a bias. Distances depend neither on the signs of U's
 * columns nor on a rotation of them, so clusters are the same on every processor. On a GPU, PEFT draws other random
 * values and gets other clusters.
 */
import { DomainError } from '@graft/contracts';
import {
  cat,
  contiguous,
  indexSelect,
  narrow,
  noGrad,
  sum,
  mm,
  mul,
  svd,
  tensor,
  tidy,
  to,
  toDevice,
  transpose,
  unsqueeze,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { Linear } from '../../nn/layers/linear.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import { kMeans } from '../reference-math/k-means.js';
import { lowRankSvd } from '../lora/lora-init.js';
import { TorchGenerator } from '../reference-math/torch-generator.js';

export interface ClusterOptions {
  readonly r: number;
  readonly num_subspaces: number;
  readonly subspace_rank: number;
  readonly use_dynamic_rank: boolean;
  readonly svd_threshold: number;
  readonly random_seed: number;
}

/** Values of PEFT. */
const ROUNDS = 10;
const SEED = 123456789;

export interface Cluster {
  /** Indices of outputs, ascending. */
  readonly rows: readonly number[];
  /** [rank, r] */
  readonly a: Tensor;
}

export interface Clusters {
  readonly all: readonly Cluster[];
  /** Directions V. */
  readonly directions: Tensor;
}

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures' | 'hasBias'>;

/**
 * Returns the numbers of directions, clusters and ranks of a linear layer. @throws DomainError if one of them would be
 * 0
 */
export function sizesOf(
  { path, inFeatures, outFeatures, hasBias }: Size,
  { r, num_subspaces: wanted, subspace_rank: rank }: ClusterOptions,
): { r: number; clusters: number } {
  const refuse = (field: string, message: string): never => {
    throw new DomainError('invalid_value', message, `peft.${field}`);
  };
  const directions = Math.min(r, outFeatures, inFeatures + Number(hasBias));
  const clusters = Math.min(wanted, outFeatures);
  if (directions === outFeatures && clusters > 1)
    refuse('r', `expected r < ${outFeatures}, the outputs of ${path}, got ${r}: with as many directions as outputs, all outputs have the same distance, and clusters would depend on rounding`); // prettier-ignore
  if (rank > directions)
    refuse('subspace_rank', `expected subspace_rank ≤ ${directions}, the directions of ${path}, got ${rank}`); // prettier-ignore
  return { r: directions, clusters };
}

/** Returns the clusters. Their tensors are in the caller's scope. */
export function clustersOf(
  { path, weight, bias }: Pick<Linear, 'path' | 'weight' | 'bias'>,
  options: ClusterOptions,
): Clusters {
  const { inFeatures, outFeatures } = weight;
  const sizes = sizesOf({ path, inFeatures, outFeatures, hasBias: bias !== null }, options);
  return noGrad(() => {
    const w = onCpu(weight.dense('f32'));
    const whole = bias ? cat([w, unsqueeze(onCpu(to(bias, 'f32')), 1)], 1) : w;
    const least = Math.min(...whole.shape);
    const random = new TorchGenerator(options.random_seed).normal(least * sizes.r, 1);
    const { u, vh } = lowRankSvd(whole, tensor(random, [least, sizes.r]), 2);
    const { clusters } = sizes;
    const labels = kMeans(contiguous(u).toArray() as Float32Array, outFeatures, {
      clusters,
      rounds: ROUNDS,
      seed: SEED,
    });
    const all = Array.from({ length: clusters }, (_, cluster) => {
      const rows = [...labels.keys()].filter((row) => labels[row] === cluster);
      if (rows.length > 0) return { rows, a: initialFactor(u, rows, options) };
      const message = `the outputs of ${path} form fewer than ${clusters} clusters; lower num_subspaces`;
      throw new DomainError('invalid_value', message, 'peft.num_subspaces');
    });
    return { all, directions: vh };
  });
}

const onCpu = (t: Tensor): Tensor => (t.device.startsWith('cuda') ? toDevice(t, 'cpu') : t);

/**
 * Returns the initial A: the first right singular vectors of a cluster's rows of U. PEFT approximates them with random
 * values of its process.
 */
function initialFactor(
  u: Tensor,
  rows: readonly number[],
  { subspace_rank: most, use_dynamic_rank: isDynamic, svd_threshold: threshold }: ClusterOptions,
): Tensor {
  return tidy(() => {
    const { s, vh } = svd(
      indexSelect(u, 0, tensor([...rows], [rows.length], 'i64')),
      rows.length < most,
    );
    const values = Array.from(s.toArray(), Number);
    const first = values[0] as number;
    // PEFT compares singular values of the rows' Gram matrix, which are squares
    const above = values.filter((value) => value ** 2 > threshold * first ** 2).length;
    const rank = Math.min(rows.length, most, isDynamic ? Math.max(1, above) : most);
    return contiguous(narrow(vh, 0, 0, rank));
  });
}

/** Returns how far two sets of directions overlap: 1 if they span the same space. Both [r, in]. */
export const overlap = (one: Tensor, other: Tensor): number =>
  tidy(() => {
    const product = mm(one, transpose(other, 0, 1));
    return sum(mul(product, product)).item() / (one.shape[0] as number);
  });
