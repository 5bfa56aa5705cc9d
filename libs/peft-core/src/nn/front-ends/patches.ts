/**
 * Image front end, arXiv:2010.11929 (ViT):
 *   patches of an image [C, H, W] → P [g, C·p·q], row by row     g = ⌊H/p⌋ · ⌊W/q⌋
 *   rows = [tokens ; P Kᵀ + b] + positions        K: [D, C, p, q], a convolution whose windows do not overlap
 * tokens: [t, D], learned tokens before the patches (class token, distillation token). positions: [t + g, D].
 * For images of another size than the positions were trained for, the square of patch positions is
 * interpolated. Registers (arXiv:2309.16588) come between the class token and the patches and have no
 * positions.
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  cat,
  expand,
  interpolateBicubic,
  narrow,
  permute,
  reshape,
  resizeImage,
  to,
  view,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Embedding } from '../layers/embedding.js';
import type { Linear } from '../layers/linear.js';
import type { ModuleMaker } from '../outline/description.js';
import { byRun } from '../rows.js';
import type { FeatureRows } from './feature-rows.js';
import { featureContext } from './feature-rows.js';

const size = z.int().min(1);

export const PatchesOptions = z.object({
  kind: z.literal('patches'),
  channels: size,
  /** Height and width of the images that the positions were trained for. */
  imageSize: z.tuple([size, size]),
  /** Height and width of a patch. */
  patch: z.tuple([size, size]),
  /** Interpolation of positions for images of another size. If omitted, no other size is supported. */
  interpolation: z.enum(['bicubic', 'bicubic_antialiased']).optional(),
  /** Number of learned rows before the patches. */
  tokens: z.int().min(0).default(0),
  /** Number of registers between the first row and the patches. */
  registers: z.int().min(0).default(0),
});
export type PatchesOptions = z.infer<typeof PatchesOptions>;

export interface PatchesPaths {
  readonly kind: 'patches';
  readonly projection: string;
  /** Names of parameters [1, 1, D]. */
  readonly tokens?: readonly string[];
  readonly registers?: string;
  /** Name of a parameter [1, rows, D], or of an embedding module. */
  readonly positions: string | { readonly table: string };
}

export interface PatchesModules<L, E> {
  readonly kind: 'patches';
  readonly projection: L;
  readonly tokens: readonly E[];
  readonly registers: E | null;
  readonly positions: E;
}

export function describePatches<L, N, E, X>(
  o: PatchesOptions,
  paths: PatchesPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): PatchesModules<L, E> {
  const { channels, patch, registers } = o;
  const columns = hiddenSize;
  const parameter = (path: string, rows: number): E =>
    make.embedding({ path, rows, columns, parameter: [1, rows, columns] });
  const { positions, tokens = [] } = paths;
  const rows = o.tokens + patchesIn(o.imageSize, patch);
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
    tokens: tokens.slice(0, o.tokens).map((path) => parameter(path, 1)),
    registers: registers > 0 ? parameter(paths.registers as string, registers) : null,
    positions:
      typeof positions === 'string'
        ? parameter(positions, rows)
        : make.embedding({ path: positions.table, rows, columns }),
  };
}

type Sides = readonly [height: number, width: number];

/**
 * Returns the number of whole patches. Pixels left over at the right and bottom are ignored, as in a
 * convolution.
 */
export const patchesIn = ([height, width]: Sides, [high, wide]: Sides): number =>
  Math.floor(height / high) * Math.floor(width / wide);

/** Largest side, in pixels, of images of arbitrary size. */
export const LARGEST_SIDE = 4096;

/** Returns the number of rows of an image [C, H, W]. @throws DomainError if the shape is not supported */
export function patchRows(o: PatchesOptions, shape: readonly number[]): number {
  const [, height = 0, width = 0] = shape;
  const wanted = [o.channels, ...o.imageSize];
  const [high, wide] = o.patch;
  const fits = o.interpolation
    ? shape.length === 3 &&
      shape[0] === o.channels &&
      height >= high &&
      width >= wide &&
      Math.max(height, width) <= LARGEST_SIDE
    : shape.join() === wanted.join();
  if (!fits) {
    const expected = o.interpolation
      ? `of ${o.channels} channels, at least ${high} × ${wide} and at most ${LARGEST_SIDE} × ${LARGEST_SIDE}`
      : `of ${wanted.join(' × ')} (channels, height, width)`;
    const message = `expected an image ${expected}, got ${shape.join(' × ')}`;
    throw new DomainError('invalid_value', message, 'image');
  }
  return o.tokens + o.registers + patchesIn([height, width], o.patch);
}

/** Patches of an image, and how many there are vertically and horizontally. */
interface Cut {
  /** [g, C·p·q] */
  readonly patches: Tensor;
  readonly grid: Sides;
  readonly isSquare: boolean;
}

/** Returns rows [T, D] of all images, in the base model's dtype. */
export function embedPatches(
  o: PatchesOptions,
  modules: PatchesModules<Linear, Embedding>,
  images: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  const { features, sequences, dtype } = images;
  const cuts = features.map((image) => cut(to(image, dtype), o));
  const counts = cuts.map(({ patches }) => patches.shape[0] as number);
  const here = featureContext(images, counts, ctx);
  const made = modules.projection.forward(cat(cuts.map(({ patches }) => patches)), here);
  return byRun(made, here, (rows, run) => {
    const own = cuts.filter((_, i) => sequences[i]?.run === run);
    let at = 0;
    const placed = groupBySize(own).map((group) => {
      const length = group.length * (group[0]?.patches.shape[0] as number);
      at += length;
      return place(narrow(rows, 0, at - length, length), group, { o, modules, run });
    });
    return placed.length === 1 ? (placed[0] as Tensor) : cat(placed);
  });
}

/** Groups consecutive images of the same size. */
function groupBySize(cuts: readonly Cut[]): Cut[][] {
  const groups: Cut[][] = [];
  for (const one of cuts) {
    const last = groups.at(-1);
    const [before] = last ?? [];
    const isSame = before?.grid.join() === one.grid.join() && before.isSquare === one.isSquare;
    if (last && isSame) last.push(one);
    else groups.push([one]);
  }
  return groups;
}

interface Placing {
  readonly o: PatchesOptions;
  readonly modules: PatchesModules<Linear, Embedding>;
  readonly run: number;
}

/** Returns the rows of the images, one image after another, from the patch rows of images of one size. */
function place(
  rows: Tensor,
  group: readonly Cut[],
  { o, modules: { tokens, registers, positions }, run }: Placing,
): Tensor {
  const { dtype } = rows;
  const width = rows.shape[1] as number;
  const count = group.length;
  const each = (parameter: Embedding): Tensor =>
    to(expand(parameter.of(run), [count, -1, width]), dtype);
  const patches = view(rows, [count, -1, width]);
  const all = tokens.length > 0 ? cat([...tokens.map(each), patches], 1) : patches;
  const [{ grid, isSquare }] = group as [Cut];
  const table = reshape(positions.of(run), [1, -1, width]);
  const learned = to(positionsFor(table, o, { grid, isSquare, before: tokens.length }), dtype);
  const placed = add(all, learned);
  if (!registers) return reshape(placed, [-1, width]);
  const length = placed.shape[1] as number;
  const parts = [narrow(placed, 1, 0, 1), each(registers), narrow(placed, 1, 1, length - 1)];
  return reshape(cat(parts, 1), [-1, width]);
}

/**
 * Returns the learned positions [1, t + g, D] of an image's grid of patches; unchanged for square images with
 * as many patches.
 */
function positionsFor(
  table: Tensor,
  { interpolation }: PatchesOptions,
  { grid, isSquare, before }: Pick<Cut, 'grid' | 'isSquare'> & { readonly before: number },
): Tensor {
  const [, rows, width] = table.shape as [number, number, number];
  const count = rows - before;
  const [down, across] = grid;
  if (!interpolation || (down * across === count && isSquare)) return table;
  const side = Math.floor(Math.sqrt(count));
  const square = view(narrow(table, 1, before, count), [1, side, side, width]);
  const image = to(permute(square, [0, 3, 1, 2]), 'f32');
  const made =
    interpolation === 'bicubic'
      ? interpolateBicubic(image, grid)
      : resizeImage(image, grid, 'bicubic');
  const flat = reshape(permute(made, [0, 2, 3, 1]), [1, down * across, width]);
  // round to the base model's dtype before adding anything
  return cat([narrow(table, 1, 0, before), to(flat, table.dtype)], 1);
}

/** Cuts [C, H, W] into patches [g, C·p·q]. */
function cut(image: Tensor, { patch: [high, wide] }: PatchesOptions): Cut {
  const [channels, height, width] = image.shape as [number, number, number];
  const [down, across] = [Math.floor(height / high), Math.floor(width / wide)];
  const whole = narrow(narrow(image, 1, 0, down * high), 2, 0, across * wide);
  const parts = reshape(whole, [channels, down, high, across, wide]);
  return {
    patches: reshape(permute(parts, [1, 3, 0, 2, 4]), [down * across, channels * high * wide]),
    grid: [down, across],
    isSquare: height === width,
  };
}
