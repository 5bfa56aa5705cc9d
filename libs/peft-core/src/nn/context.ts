import type { Recomputation, Tensor } from '@graft/kernels';
import type { RunRows, Sequence } from './batch.js';
import type { SummedLayers } from './layers/layer-sum.js';
import type { Scalings } from './sites/scalings.js';

/** What dropout of one run is keyed by, besides the module and the element. */
export interface DropoutKey {
  readonly seed: number;
  /** Counts forwards that train, so that no two micro-batches of a run share a mask. */
  readonly step: number;
}

/** What a forward needs to know besides the batch. */
export interface ForwardContext {
  /** Whether dropout acts. */
  readonly training: boolean;
  /** Whether rows are counted or told apart by someone, so that each sequence has all of its own. */
  readonly rowsApart?: boolean;
  readonly runs: ReadonlyMap<number, DropoutKey>;
  /** Row ranges by run of the rows at hand, in order; a run appears once. */
  readonly rows: readonly RunRows[];
  /** What the rows are of, where a module is given whole sequences. */
  readonly sequences?: readonly Sequence[];
  /** Of runs whose adapters do not act on all of their rows: 1 on those where they do, else 0, [n, 1]. */
  readonly active?: ReadonlyMap<number, Tensor>;
  /** Of runs whose adapters are weighed row by row: with what. */
  readonly scalings?: Scalings | undefined;
  /** Where the heads of runs read a sum of all layers. */
  readonly layerSum?: SummedLayers;
  /** The layer at hand, where an earlier one has the same modules. */
  readonly repeat?: number;
  /** Of a forward that learns, where its layers are to keep nothing but what goes in; what it reads lives as long as this. */
  readonly recomputation?: Recomputation | undefined;
  /** Called after each layer: a long forward may be stopped there by throwing. */
  readonly onLayer?: (() => void) | undefined;
}

/** What a whole forward needs to know: it takes the rows from its batch. */
export type BatchContext = Omit<ForwardContext, 'rows'>;

/** What an adapter sees of a forward: its own run's rows only. */
export interface RowContext {
  readonly training: boolean;
  readonly key: DropoutKey;
  /** Number of the module in its model, for dropout; another each time that a layer shares it. */
  readonly module: number;
  /** Rows of the run's sequences in order, each with its task; none where single rows are given. Made when asked for. */
  tasks(): readonly { readonly taskId: number; readonly length: number }[];
  /** 1 on rows that the adapter acts on, else 0, [n, 1]; null: it acts on all. */
  readonly active: Tensor | null;
  /** What adapters that are weighed row by row are weighed with; null: those do not act. */
  readonly scalings: Tensor | null;
  /** Whether the run's rows are all there are: then y is nobody else's and may be changed in place. */
  readonly alone: boolean;
}
