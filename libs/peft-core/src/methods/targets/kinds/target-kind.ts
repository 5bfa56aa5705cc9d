import type { Tensor } from '@graft/kernels';
import type { ModuleParameters } from '../../frame/parameters.js';
import type { BaseDtype } from '../../../nn/precision.js';

/** The targets of one kind that a run's adapter trains, such as its linears or its rows of the vocabulary. */
export interface TargetKind {
  /** The parameters of each target, in the order of the targets. */
  readonly sets: readonly ModuleParameters[];
  /** What the adapter's file contains, by name. */
  exported(): Map<string, Tensor>;
  /** Base weights with the adapter merged in, by name. */
  merged(dtype: BaseDtype): Map<string, Tensor>;
  /** Frees what it holds besides `sets`. */
  dispose?(): void;
}

export const exportedBy = (sets: readonly ModuleParameters[]): Map<string, Tensor> =>
  new Map(sets.flatMap((set) => [...set.exported()]));
