/**
 * Spectrogram front end, arXiv:2104.01778 (AST): overlapping patches, ordered by band, then by time.
 *   patches of xᵀ [mel, F], each stride-th down and across → P [g, p·p]
 *   rows = [tokens ; P Kᵀ + b] + positions        x: [F, mel]   K: [D, 1, p, p]
 * tokens: learned rows, the class token and the distillation token.
 */
import { DomainError } from '@graft/contracts';
import { add, cat, expand, reshape, to, transpose, unfold, view } from '@graft/kernels';
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

export const SpectrogramPatchesOptions = z.object({
  kind: z.literal('spectrogram_patches'),
  /** Number of frames of each spectrogram. Every patch has its own position. */
  frames: size,
  mel: size,
  patch: size,
  /** Strides over bands and over time. */
  strides: z.tuple([size, size]),
});
export type SpectrogramPatchesOptions = z.infer<typeof SpectrogramPatchesOptions>;

export interface SpectrogramPatchesPaths {
  readonly kind: 'spectrogram_patches';
  readonly projection: string;
  /** Names of the parameters [1, 1, D] (tokens) and [1, rows, D] (positions). */
  readonly tokens: readonly string[];
  readonly positions: string;
}

export interface SpectrogramPatchesModules<L, E> {
  readonly kind: 'spectrogram_patches';
  readonly projection: L;
  readonly tokens: readonly E[];
  readonly positions: E;
}

/** Returns the number of patches of a spectrogram. */
export const spectrogramPatches = ({
  frames,
  mel,
  patch,
  strides: [down, across],
}: Omit<SpectrogramPatchesOptions, 'kind'>): number =>
  (Math.floor((mel - patch) / down) + 1) * (Math.floor((frames - patch) / across) + 1);

export function describeSpectrogramPatches<L, N, E, X>(
  o: SpectrogramPatchesOptions,
  paths: SpectrogramPatchesPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): SpectrogramPatchesModules<L, E> {
  const parameter = (path: string, rows: number): E =>
    make.embedding({ path, rows, columns: hiddenSize, parameter: [1, rows, hiddenSize] });
  return {
    kind: 'spectrogram_patches',
    tokens: paths.tokens.map((path) => parameter(path, 1)),
    positions: parameter(paths.positions, paths.tokens.length + spectrogramPatches(o)),
    projection: make.linear({
      path: paths.projection,
      role: 'convolution',
      layer: null,
      inFeatures: o.patch * o.patch,
      outFeatures: hiddenSize,
      hasBias: true,
      transposed: false,
      kernel: [1, o.patch, o.patch],
    }),
  };
}

/** Class token and distillation token. */
const TOKENS = 2;

/** Returns the number of rows of a spectrogram [F, mel]. @throws DomainError if the shape is not supported */
export function spectrogramPatchRows(
  o: SpectrogramPatchesOptions,
  shape: readonly number[],
): number {
  if (shape.join() === `${o.frames},${o.mel}`) return TOKENS + spectrogramPatches(o);
  const message = `expected a spectrogram of ${o.frames} × ${o.mel} (frames, mel), got ${shape.join(' × ')}`;
  throw new DomainError('invalid_value', message, 'audio');
}

/** Returns rows [T, D] of all spectrograms, in the base model's dtype. */
export function embedSpectrogramPatches(
  o: SpectrogramPatchesOptions,
  { projection, tokens, positions }: SpectrogramPatchesModules<Linear, Embedding>,
  spectrograms: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  const { features, dtype } = spectrograms;
  const count = spectrogramPatches(o);
  const counts = features.map(() => count);
  const here = featureContext(spectrograms, counts, ctx);
  const patches = cat(features.map((one) => patchesOf(to(one, dtype), o)));
  return byRun(projection.forward(patches, here), here, (rows, run) => {
    const width = rows.shape[1] as number;
    const made = view(rows, [-1, count, width]);
    const each = (parameter: Embedding): Tensor =>
      to(expand(parameter.of(run), [made.shape[0] as number, -1, width]), dtype);
    const all = cat([...tokens.map(each), made], 1);
    return reshape(add(all, to(positions.of(run), dtype)), [-1, width]);
  });
}

/** Cuts [F, mel] into patches [g, p·p]. */
function patchesOf(
  spectrogram: Tensor,
  { patch, strides: [down, across] }: SpectrogramPatchesOptions,
): Tensor {
  // [mel windows, F windows, p, p]
  const windows = unfold(unfold(transpose(spectrogram, 0, 1), 0, patch, down), 1, patch, across);
  return reshape(windows, [-1, patch * patch]);
}
