// Reasons why an adapter cannot be merged although its method supports merging, computed from shapes alone.
import type { LinearShape, TableShape } from '../../nn/outline/outline.js';
import type { Footprint } from '../method.js';
import type { Targets } from '../targets/targets.js';

export const SHARED_WEIGHT =
  'the base model ties its embedding and head, and the adapter changes only one of them';

/** Whether merging would make a head differ from its embedding, which share one tensor in files. */
export function partsTied(
  pairs: readonly (readonly object[])[],
  { linears, table }: { readonly linears: readonly object[]; readonly table: object | null },
  rows: number,
): boolean {
  const tied = pairs.flat();
  const changed = [...linears, ...(table ? [table] : [])];
  return changed.some((module) => tied.includes(module)) || (tied.length > 0 && rows > 1);
}

/**
 * Returns the targets that other programs or a merged model may not support. @param tied whether one tensor would
 * become two
 */
export function placesOf(
  { linears, table }: Targets<LinearShape, TableShape>,
  tied: boolean,
): Pick<Footprint, 'unmerged' | 'table' | 'convolution'> {
  const convolution = linears.find(({ kernel }) => kernel);
  return {
    ...(tied && { unmerged: SHARED_WEIGHT }),
    ...(table && { table: table.path }),
    ...(convolution && { convolution: convolution.path }),
  };
}

export const unmergedBy = (reason: string | null | undefined): Pick<Footprint, 'unmerged'> =>
  typeof reason === 'string' ? { unmerged: reason } : {};
