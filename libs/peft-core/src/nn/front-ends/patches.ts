/**
 * Pictures as rows, arXiv:2010.11929:
 *
 *   patches of a picture [C, H, W] → P [g, C·p·q], row by row     g = ⌊H/p⌋ · ⌊W/q⌋
 *   rows = [class ; P Kᵀ + b] + positions        K: [D, C, p, q], a convolution whose windows do not overlap
 *
 * class: [1, D], of models that have one. positions: [1 + g, D], or [g, D].
 */
import { DomainError } from '@graft/contracts';
import { add, cat, expand, narrow, permute, reshape, to, view } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Embedding } from '../embedding.js';
import type { Linear } from '../linear.js';
import type { ModuleMaker } from '../outline.js';
import { byRun } from '../rows.js';
import type { FeatureRows } from './feature-rows.js';
import { featureContext } from './feature-rows.js';

const size = z.int().min(1);

export const PatchesOptions = z.object({
  kind: z.literal('patches'),
  channels: size,
  /** Of the pictures that its positions are for: height and width. */
  picture: z.tuple([size, size]),
  /** Of a patch. */
  patch: z.tuple([size, size]),
  /** Whether a row of its own stands before those of the patches. */
  classToken: z.boolean(),
});
export type PatchesOptions = z.infer<typeof PatchesOptions>;

export interface PatchesPaths {
  readonly kind: 'patches';
  readonly projection: string;
  /** Names of parameters that no module of their own has. */
  readonly classToken?: string;
  readonly positions: string;
}

export interface PatchesModules<L, E> {
  readonly kind: 'patches';
  readonly projection: L;
  readonly classToken: E | null;
  readonly positions: E;
}

export function describePatches<L, N, E, X>(
  o: PatchesOptions,
  paths: PatchesPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): PatchesModules<L, E> {
  const { channels, patch, classToken } = o;
  const parameter = (path: string, rows: number): E =>
    make.embedding({ path, rows, columns: hiddenSize, isParameter: true });
  return {
    kind: 'patches',
    projection: make.linear({
      path: paths.projection,
      role: 'convolution',
      layer: null,
      inFeatures: channels * patch[0] * patch[1],
      outFeatures: hiddenSize,
      hasBias: true,
      transposed: false,
      kernel: [channels, ...patch],
    }),
    classToken: classToken ? parameter(paths.classToken as string, 1) : null,
    positions: parameter(paths.positions, patchRows(o, [channels, ...o.picture])),
  };
}

/** Rows of a picture [C, H, W]. @throws DomainError for one that it does not read */
export function patchRows(o: PatchesOptions, shape: readonly number[]): number {
  const wanted = [o.channels, ...o.picture];
  if (shape.join() !== wanted.join()) {
    const message = `expected a picture of ${wanted.join(' × ')} (channels, height, width), got ${shape.join(' × ')}`;
    throw new DomainError('invalid_value', message, 'image');
  }
  return Number(o.classToken) + patchesIn(o.picture, o.patch);
}

type Sides = readonly [height: number, width: number];

/** Whole ones: what is left at the right and below is not looked at, as by a convolution. */
export const patchesIn = ([height, width]: Sides, [high, wide]: Sides): number =>
  Math.floor(height / high) * Math.floor(width / wide);

/** Rows [T, D] of all pictures, in the base's dtype. */
export function embedPatches(
  o: PatchesOptions,
  { projection, classToken, positions }: PatchesModules<Linear, Embedding>,
  pictures: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  const { features, dtype } = pictures;
  const cut = features.map((picture) => patchesOf(to(picture, dtype), o));
  const counts = cut.map((rows) => rows.shape[0] as number);
  const here = featureContext(pictures, counts, ctx);
  const made = projection.forward(cat(cut), here);
  const [, width] = made.shape as [number, number];
  return byRun(made, here, (rows, run) => {
    const count = (rows.shape[0] as number) / (counts[0] as number);
    const patches = view(rows, [count, -1, width]);
    const all = classToken
      ? cat([to(expand(classToken.of(run), [count, 1, width]), dtype), patches], 1)
      : patches;
    return reshape(add(all, to(positions.of(run), dtype)), [-1, width]);
  });
}

/** [C, H, W] → [g, C·p·q] */
function patchesOf(picture: Tensor, { patch: [high, wide] }: PatchesOptions): Tensor {
  const [channels, height, width] = picture.shape as [number, number, number];
  const [down, across] = [Math.floor(height / high), Math.floor(width / wide)];
  const whole = narrow(narrow(picture, 1, 0, down * high), 2, 0, across * wide);
  const parts = reshape(whole, [channels, down, high, across, wide]);
  return reshape(permute(parts, [1, 3, 0, 2, 4]), [down * across, channels * high * wide]);
}
