import type { Recomputation, Tensor } from '@graft/kernels';
import type { RunRows, Sequence } from './batch.js';
import type { SummedLayers } from './layers/layer-sum.js';
import type { Scalings } from './sites/scalings.js';

/** Dropout key of one run, in addition to module and element. */
export interface DropoutKey {
  readonly seed: number;
  /** Counter of training forward passes, so that no two micro-batches of a run share a mask. */
  readonly step: number;
}

/** Input of a forward pass in addition to the batch. */
export interface ForwardContext {
  /** Whether dropout is active. */
  readonly training: boolean;
  /** Whether sequences must not share rows, because some module counts or distinguishes rows. */
  readonly rowsApart?: boolean;
  readonly runs: ReadonlyMap<number, DropoutKey>;
  /** Row ranges of the current rows by run, in order. A run appears once. */
  readonly rows: readonly RunRows[];
  /** Sequences of the rows, if a module receives whole sequences. */
  readonly sequences?: readonly Sequence[];
  /** Mask [n, 1] by run, for adapters that do not act on all rows: 1 where the adapter acts, else 0. */
  readonly active?: ReadonlyMap<number, Tensor>;
  /** Row-wise scalings by run, for adapters that use them. */
  readonly scalings?: Scalings | undefined;
  /** Weighted sum of all layers, for runs whose head reads it. */
  readonly layerSum?: SummedLayers;
  /** Index of the current layer, if an earlier layer uses the same modules. */
  readonly repeat?: number;
  /**
   * Gradient checkpointing: layers store only their inputs. Tensors that the recomputation reads must live as
   * long as this object.
   */
  readonly recomputation?: Recomputation | undefined;
  /** Called after each layer. It may throw to stop a long forward pass. */
  readonly onLayer?: (() => void) | undefined;
}

/** Input of a whole forward pass, which takes the rows from its batch. */
export type BatchContext = Omit<ForwardContext, 'rows'>;

/** View of a forward pass that an adapter receives: the rows of its own run only. */
export interface RowContext {
  readonly training: boolean;
  readonly key: DropoutKey;
  /** Index of the module in its model, for dropout. Differs for each layer that shares the module. */
  readonly module: number;
  /**
   * Rows of the run's sequences in order, each with its task; empty if the rows are not whole sequences.
   * Computed on demand.
   */
  tasks(): readonly { readonly taskId: number; readonly length: number }[];
  /** Mask [n, 1]: 1 on rows where the adapter acts, else 0. Null if it acts on all rows. */
  readonly active: Tensor | null;
  /** Row-wise scalings, for adapters that use them. Null if such adapters do not act. */
  readonly scalings: Tensor | null;
  /**
   * Whether y has rows of this run only (no other run in the batch, or its own product). If so, it may be
   * modified in place.
   */
  readonly alone: boolean;
}
