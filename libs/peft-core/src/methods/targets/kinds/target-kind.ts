import type { Tensor } from '@graft/kernels';
import type { ModuleParameters } from '../../frame/parameters.js';
import type { BaseDtype } from '../../../nn/precision.js';

/** Targets of one kind that a run's adapter trains, such as linear layers or rows of the vocabulary. */
export interface TargetKind {
  /** Parameters of each target, in the order of the targets. */
  readonly sets: readonly ModuleParameters[];
  /** Returns the tensors of the adapter's file, by name. */
  exported(): Map<string, Tensor>;
  /** Returns base weights with the adapter merged in, by name. */
  merged(dtype: BaseDtype): Map<string, Tensor>;
  /** Frees everything except `sets`. */
  dispose?(): void;
}

export const exportedBy = (sets: readonly ModuleParameters[]): Map<string, Tensor> =>
  new Map(sets.flatMap((set) => [...set.exported()]));
