/**
 * Pictures as rows, arXiv:2010.11929:
 *
 *   patches of a picture [C, H, W] → P [g, C·p·q], row by row     g = ⌊H/p⌋ · ⌊W/q⌋
 *   rows = [tokens ; P Kᵀ + b] + positions        K: [D, C, p, q], a convolution whose windows do not overlap
 *
 * tokens: [t, D], learned ones before the patches: that of the class, that of a teacher. positions: [t + g, D]. Of
 * pictures of another size than they were made for, the square of those of patches is interpolated. Registers
 * (arXiv:2309.16588) come between the class and the patches and have no positions.
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
  /** Of the pictures that its positions are for: height and width. */
  picture: z.tuple([size, size]),
  /** Of a patch. */
  patch: z.tuple([size, size]),
  /** How positions become those of a picture of another size; left out: it reads no other. */
  interpolation: z.enum(['bicubic', 'bicubic_antialiased']).optional(),
  /** Learned rows before those of patches. */
  tokens: z.int().min(0).default(0),
  /** Rows between the first and those of patches. */
  registers: z.int().min(0).default(0),
});
export type PatchesOptions = z.infer<typeof PatchesOptions>;

export interface PatchesPaths {
  readonly kind: 'patches';
  readonly projection: string;
  /** Names of parameters [1, 1, D]. */
  readonly tokens?: readonly string[];
  readonly registers?: string;
  /** Of a parameter [1, rows, D]; or of a table, where that is a module. */
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
  const rows = o.tokens + patchesIn(o.picture, patch);
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

/** Whole ones: what is left at the right and below is not looked at, as by a convolution. */
export const patchesIn = ([height, width]: Sides, [high, wide]: Sides): number =>
  Math.floor(height / high) * Math.floor(width / wide);

/** Of a picture that is read whatever its size. */
export const LARGEST_SIDE = 4096;

/** Rows of a picture [C, H, W]. @throws DomainError for one that it does not read */
export function patchRows(o: PatchesOptions, shape: readonly number[]): number {
  const [, height = 0, width = 0] = shape;
  const wanted = [o.channels, ...o.picture];
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
    const message = `expected a picture ${expected}, got ${shape.join(' × ')}`;
    throw new DomainError('invalid_value', message, 'image');
  }
  return o.tokens + o.registers + patchesIn([height, width], o.patch);
}

/** A picture's patches, and how many there are down and across. */
interface Cut {
  /** [g, C·p·q] */
  readonly patches: Tensor;
  readonly grid: Sides;
  readonly isSquare: boolean;
}

/** Rows [T, D] of all pictures, in the base's dtype. */
export function embedPatches(
  o: PatchesOptions,
  modules: PatchesModules<Linear, Embedding>,
  pictures: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  const { features, sequences, dtype } = pictures;
  const cuts = features.map((picture) => cut(to(picture, dtype), o));
  const counts = cuts.map(({ patches }) => patches.shape[0] as number);
  const here = featureContext(pictures, counts, ctx);
  const made = modules.projection.forward(cat(cuts.map(({ patches }) => patches)), here);
  return byRun(made, here, (rows, run) => {
    const own = cuts.filter((_, i) => sequences[i]?.run === run);
    let at = 0;
    const placed = alike(own).map((group) => {
      const length = group.length * (group[0]?.patches.shape[0] as number);
      at += length;
      return place(narrow(rows, 0, at - length, length), group, { o, modules, run });
    });
    return placed.length === 1 ? (placed[0] as Tensor) : cat(placed);
  });
}

/** Neighbours of one size together. */
function alike(cuts: readonly Cut[]): Cut[][] {
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

/** Rows of patches of pictures of one size → rows of the pictures, one picture after another. */
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

/** The learned positions [1, t + g, D] of a picture's grid of patches; as they are for square pictures of as many. */
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
  // rounded to the base's dtype before anything is added
  return cat([narrow(table, 1, 0, before), to(flat, table.dtype)], 1);
}

/** [C, H, W] → [g, C·p·q] */
function cut(picture: Tensor, { patch: [high, wide] }: PatchesOptions): Cut {
  const [channels, height, width] = picture.shape as [number, number, number];
  const [down, across] = [Math.floor(height / high), Math.floor(width / wide)];
  const whole = narrow(narrow(picture, 1, 0, down * high), 2, 0, across * wide);
  const parts = reshape(whole, [channels, down, high, across, wide]);
  return {
    patches: reshape(permute(parts, [1, 3, 0, 2, 4]), [down * across, channels * high * wide]),
    grid: [down, across],
    isSquare: height === width,
  };
}
