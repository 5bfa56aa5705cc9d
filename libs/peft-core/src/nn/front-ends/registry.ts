/** What makes rows of pictures and sounds: a kind is a file beside this one, and a line in each function here. */
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { ForwardContext } from '../context.js';
import type { Embedding } from '../embedding.js';
import type { Linear } from '../linear.js';
import type { ModuleMaker } from '../outline.js';
import type { FeatureRows } from './feature-rows.js';
import { describePatches, embedPatches, patchRows, PatchesOptions } from './patches.js';
import type { PatchesModules, PatchesPaths } from './patches.js';

export const FrontEndOptions = z.discriminatedUnion('kind', [PatchesOptions]);
export type FrontEndOptions = z.infer<typeof FrontEndOptions>;
export type FrontEndPaths = PatchesPaths;
export type FrontEndModules<L, E> = PatchesModules<L, E>;

/** What a model reads. */
export type InputKind = 'tokens' | 'image' | 'audio';

const READS: Readonly<Record<FrontEndOptions['kind'], InputKind>> = { patches: 'image' };

export const inputKindOf = (frontEnd: FrontEndOptions | undefined): InputKind =>
  frontEnd ? READS[frontEnd.kind] : 'tokens';

/** Its modules, in the order in which they act. */
export function describeFrontEnd<L, N, E, X>(
  options: FrontEndOptions,
  paths: FrontEndPaths,
  hiddenSize: number,
  make: ModuleMaker<L, N, E, X>,
): FrontEndModules<L, E> {
  return describePatches(options, paths, hiddenSize, make);
}

/** Rows that it makes of an input of this shape. @throws DomainError for one that it does not read */
export const frontEndRows = (options: FrontEndOptions, shape: readonly number[]): number =>
  patchRows(options, shape);

/** Rows [T, D] of all inputs, in the base's dtype. */
export const embedFeatures = (
  options: FrontEndOptions,
  modules: FrontEndModules<Linear, Embedding>,
  features: FeatureRows,
  ctx: ForwardContext,
): Tensor => embedPatches(options, modules, features, ctx);
