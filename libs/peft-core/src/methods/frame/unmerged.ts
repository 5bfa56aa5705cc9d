// Why a base cannot be merged with an adapter whose method can be, told from shapes alone.
import type { LinearShape, TableShape } from '../../nn/outline/outline.js';
import type { Footprint } from '../method.js';
import type { Targets } from '../targets/targets.js';

export const SHARED_WEIGHT =
  'the base model ties its embedding and head, and the adapter changes only one of them';

/** Whether a head and its embedding, one tensor in files, become two. */
export function partsTied(
  pairs: readonly (readonly object[])[],
  { linears, table }: { readonly linears: readonly object[]; readonly table: object | null },
  rows: number,
): boolean {
  const tied = pairs.flat();
  const changed = [...linears, ...(table ? [table] : [])];
  return changed.some((module) => tied.includes(module)) || (tied.length > 0 && rows > 1);
}

/** What of its targets other programs or a merged model may have no place for. @param tied whether one tensor becomes two */
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
