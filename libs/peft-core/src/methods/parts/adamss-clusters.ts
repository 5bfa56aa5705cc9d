/**
 * How AdaMSS divides the outputs of a linear, as PEFT does: by the rows of U [out, r] of
 *
 *   [W b] ≈ U Σ V      by two rounds of subspace iteration from random numbers of a seed (torch.svd_lowrank)
 *
 * in k clusters (k-means.ts). V: [r, in], or [r, in + 1] beside a bias. Neither U's signs nor a turn of its columns change
 * a distance, so that clusters are the same on any processor. A GPU draws other random numbers in PEFT, and finds others.
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

/** PEFT's. */
const ROUNDS = 10;
const SEED = 123456789;

export interface Cluster {
  /** Outputs, rising. */
  readonly rows: readonly number[];
  /** [rank, r] */
  readonly a: Tensor;
}

export interface Clusters {
  readonly all: readonly Cluster[];
  /** V */
  readonly directions: Tensor;
}

type Size = Pick<LinearShape, 'path' | 'inFeatures' | 'outFeatures' | 'hasBias'>;

/** How many directions, clusters and ranks a linear has. @throws DomainError where there would be none */
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
    refuse('r', `expected r < ${outFeatures}, the outputs of ${path}, got ${r}: with as many directions as outputs all of them are equally far apart, and clusters would come of rounding`); // prettier-ignore
  if (rank > directions)
    refuse('subspace_rank', `expected subspace_rank ≤ ${directions}, the directions of ${path}, got ${rank}`); // prettier-ignore
  return { r: directions, clusters };
}

/** The caller's scope holds what is made. */
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
      if (rows.length > 0) return { rows, a: begun(u, rows, options) };
      const message = `the outputs of ${path} make fewer than ${clusters} clusters; lower num_subspaces`;
      throw new DomainError('invalid_value', message, 'peft.num_subspaces');
    });
    return { all, directions: vh };
  });
}

const onCpu = (t: Tensor): Tensor => (t.device.startsWith('cuda') ? toDevice(t, 'cpu') : t);

/** A: the first right singular vectors of a cluster's rows of U, which PEFT finds nearly, by random numbers of its process. */
function begun(
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
    // singular values of the rows' products with one another are squares
    const above = values.filter((value) => value ** 2 > threshold * first ** 2).length;
    const rank = Math.min(rows.length, most, isDynamic ? Math.max(1, above) : most);
    return contiguous(narrow(vh, 0, 0, rank));
  });
}

/** How much of one's directions lies in the other's: 1 where both span the same. Both [r, in] */
export const overlap = (one: Tensor, other: Tensor): number =>
  tidy(() => {
    const product = mm(one, transpose(other, 0, 1));
    return sum(mul(product, product)).item() / (one.shape[0] as number);
  });
