import type { Tensor } from '@graft/kernels';
import type { RunRows } from '../batch.js';

/** What dropout of one run is keyed by, besides the site and the element. */
export interface RunKey {
  readonly seed: number;
  /** Counts forwards that train, so that no two micro-batches of a run share a mask. */
  readonly step: number;
}

/** What a forward needs to know besides the batch. */
export interface ForwardContext {
  /** Whether dropout acts. */
  readonly training: boolean;
  readonly runs: ReadonlyMap<number, RunKey>;
  /** Row ranges by run of the rows at hand, in order; a run appears once. `forward` takes them from the batch. */
  readonly rows: readonly RunRows[];
  /** When given, `forward` puts here the hidden state [1, D] of the last virtual token of each run that has some. */
  readonly virtual?: Map<number, Tensor>;
}

/** What an adapter sees of a forward: its own run's rows only. */
export interface RowContext {
  readonly training: boolean;
  readonly key: RunKey;
  /** Number of the site in its model, for dropout. */
  readonly site: number;
  /** Whether the run's rows are all there are: then y is nobody else's and may be changed in place. */
  readonly alone: boolean;
}
