/**
 * Front ends, which turn images and audio into rows. Each kind has a file in this folder and a line in each function
 * here.
 */
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Embedding } from '../layers/embedding.js';
import type { Linear } from '../layers/linear.js';
import type { ModuleMaker } from '../outline/description.js';
import type { FeatureRows } from './feature-rows.js';
import { describeFrames, embedFrames, frameRows, FramesOptions } from './frames.js';
import type { FramesModules, FramesPaths } from './frames.js';
import type { Masking } from './masking.js';
import { describePatches, embedPatches, patchRows, PatchesOptions } from './patches.js';
import type { PatchesModules, PatchesPaths } from './patches.js';
import {
  describeSpectrogramPatches,
  embedSpectrogramPatches,
  spectrogramPatchRows,
  SpectrogramPatchesOptions,
} from './spectrogram-patches.js';
import type { SpectrogramPatchesModules, SpectrogramPatchesPaths } from './spectrogram-patches.js';
import {
  describeWaveform,
  embedWaveform,
  WaveformOptions,
  waveformBytes,
  waveformRows,
} from './waveform.js';
import type { WaveformModules, WaveformPaths } from './waveform.js';
import type { Norm } from '../layers/norm.js';

export const FrontEndOptions = z.discriminatedUnion('kind', [
  PatchesOptions,
  FramesOptions,
  WaveformOptions,
  SpectrogramPatchesOptions,
]);
export type FrontEndOptions = z.infer<typeof FrontEndOptions>;
export type FrontEndPaths = PatchesPaths | FramesPaths | WaveformPaths | SpectrogramPatchesPaths;
export type FrontEndModules<L, N, E> =
  | PatchesModules<L, E>
  | FramesModules<L>
  | WaveformModules<L, N, E>
  | SpectrogramPatchesModules<L, E>;

/** Input that a model reads. */
export type InputKind = 'tokens' | 'image' | 'audio';

const READS: Readonly<Record<FrontEndOptions['kind'], InputKind>> = {
  patches: 'image',
  frames: 'audio',
  waveform: 'audio',
  spectrogram_patches: 'audio',
};

export const inputKindOf = (frontEnd: Pick<FrontEndOptions, 'kind'> | undefined): InputKind =>
  frontEnd ? READS[frontEnd.kind] : 'tokens';

/** Whether the first row of an image is a class token. */
export const hasClassToken = (frontEnd: FrontEndOptions | undefined): boolean =>
  frontEnd?.kind === 'patches' && frontEnd.tokens > 0;

/** Masking in training; null if there is none. */
export const maskingOf = (frontEnd: FrontEndOptions | undefined): Masking | null =>
  frontEnd?.kind === 'waveform' ? frontEnd.masking : null;

/** Paths of the linear layers of a front end. */
export function frontEndLinears(paths: FrontEndPaths): readonly string[] {
  switch (paths.kind) {
    case 'patches':
    case 'spectrogram_patches':
      return [paths.projection];
    case 'frames':
      return [paths.first, paths.second];
    case 'waveform':
      return [paths.convolution, paths.projection];
  }
}

/** Describes the modules of a front end, in the order in which they are applied. */
export function describeFrontEnd<L, N, E, X>(
  options: FrontEndOptions,
  paths: FrontEndPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): FrontEndModules<L, N, E> {
  switch (options.kind) {
    case 'patches':
      return describePatches(options, paths as PatchesPaths, hiddenSize, make);
    case 'frames':
      return describeFrames(options, paths as FramesPaths, hiddenSize, make);
    case 'waveform':
      return describeWaveform(options, paths as WaveformPaths, hiddenSize, make);
    case 'spectrogram_patches':
      return describeSpectrogramPatches(
        options,
        paths as SpectrogramPatchesPaths,
        hiddenSize,
        make,
      );
  }
}

/** Returns the number of rows of an input of this shape. @throws DomainError if the shape is not supported */
export function frontEndRows(options: FrontEndOptions, shape: readonly number[]): number {
  switch (options.kind) {
    case 'patches':
      return patchRows(options, shape);
    case 'frames':
      return frameRows(options, shape);
    case 'waveform':
      return waveformRows(options, shape);
    case 'spectrogram_patches':
      return spectrogramPatchRows(options, shape);
  }
}

/** Temporary memory in bytes to compute this many rows of one input, if it is far more than the rows themselves. */
export const frontEndBytes = (options: FrontEndOptions | undefined, rows: number): number =>
  options?.kind === 'waveform' ? waveformBytes(options, rows) : 0;

/** Returns rows [T, D] of all inputs, in the base model's dtype. */
export function embedFeatures(
  options: FrontEndOptions,
  modules: FrontEndModules<Linear, Norm, Embedding>,
  features: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  switch (options.kind) {
    case 'patches':
      return embedPatches(options, modules as PatchesModules<Linear, Embedding>, features, ctx);
    case 'frames':
      return embedFrames(options, modules as FramesModules<Linear>, features, ctx);
    case 'waveform':
      return embedWaveform(
        options,
        modules as WaveformModules<Linear, Norm, Embedding>,
        features,
        ctx,
      );
    case 'spectrogram_patches':
      return embedSpectrogramPatches(
        options,
        modules as SpectrogramPatchesModules<Linear, Embedding>,
        features,
        ctx,
      );
  }
}
