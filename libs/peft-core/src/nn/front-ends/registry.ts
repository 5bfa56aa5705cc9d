/** What makes rows of pictures and sounds: a kind is a file beside this one, and a line in each function here. */
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Embedding } from '../embedding.js';
import type { Linear } from '../linear.js';
import type { ModuleMaker } from '../outline.js';
import type { FeatureRows } from './feature-rows.js';
import { describeFrames, embedFrames, frameRows, FramesOptions } from './frames.js';
import type { FramesModules, FramesPaths } from './frames.js';
import { describePatches, embedPatches, patchRows, PatchesOptions } from './patches.js';
import type { PatchesModules, PatchesPaths } from './patches.js';

export const FrontEndOptions = z.discriminatedUnion('kind', [PatchesOptions, FramesOptions]);
export type FrontEndOptions = z.infer<typeof FrontEndOptions>;
export type FrontEndPaths = PatchesPaths | FramesPaths;
export type FrontEndModules<L, E> = PatchesModules<L, E> | FramesModules<L>;

/** What a model reads. */
export type InputKind = 'tokens' | 'image' | 'audio';

const READS: Readonly<Record<FrontEndOptions['kind'], InputKind>> = {
  patches: 'image',
  frames: 'audio',
};

export const inputKindOf = (frontEnd: Pick<FrontEndOptions, 'kind'> | undefined): InputKind =>
  frontEnd ? READS[frontEnd.kind] : 'tokens';

/** Paths of its linears. */
export const frontEndLinears = (paths: FrontEndPaths): readonly string[] =>
  paths.kind === 'patches' ? [paths.projection] : [paths.first, paths.second];

/** Its modules, in the order in which they act. */
export function describeFrontEnd<L, N, E, X>(
  options: FrontEndOptions,
  paths: FrontEndPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): FrontEndModules<L, E> {
  switch (options.kind) {
    case 'patches':
      return describePatches(options, paths as PatchesPaths, hiddenSize, make);
    case 'frames':
      return describeFrames(options, paths as FramesPaths, hiddenSize, make);
  }
}

/** Rows that it makes of an input of this shape. @throws DomainError for one that it does not read */
export function frontEndRows(options: FrontEndOptions, shape: readonly number[]): number {
  switch (options.kind) {
    case 'patches':
      return patchRows(options, shape);
    case 'frames':
      return frameRows(options, shape);
  }
}

/** Rows [T, D] of all inputs, in the base's dtype. */
export function embedFeatures(
  options: FrontEndOptions,
  modules: FrontEndModules<Linear, Embedding>,
  features: FeatureRows,
  ctx: ForwardContext,
): Tensor {
  switch (options.kind) {
    case 'patches':
      return embedPatches(options, modules as PatchesModules<Linear, Embedding>, features, ctx);
    case 'frames':
      return embedFrames(options, modules as FramesModules<Linear>, features, ctx);
  }
}
