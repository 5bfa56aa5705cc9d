/** Pass over a run's training data for an adapter initialization that depends on the data. */
import type { Tensor } from '@graft/kernels';
import type { Model } from '../../models/model.js';
import type { Linear, LinearAdapter } from '../../nn/layers/linear.js';
import type { NamedTensors } from '../method.js';

/** Observer of the target linear layers while examples pass through the base. */
export interface Observer {
  /** Whether a backward pass follows each forward pass. */
  readonly differentiates: boolean;
  /** Whether a sample is a single example; otherwise it is a micro-batch. */
  readonly apart: boolean;
  /** Whether rows without a label are skipped. */
  readonly supervisedOnly: boolean;
  /** Number of examples of the first epoch to use. Infinity: examples repeat until the observer is done. */
  readonly examples: number;
  /** Returns the adapter to attach to a linear layer. */
  of(linear: Linear): LinearAdapter;
  /** Starts a sample. @param rows indices of the rows that count, in order [n], i64; null: all */
  begin(rows: Tensor | null): void;
  /** Ends a sample. Returns whether the same sample must be run again. */
  end(): boolean;
  /** Called after a pass over all examples. @throws DomainError if more passes will not help */
  round?(): void;
  /** Progress from 0 to 1, if only the observer knows it. It is done at 1. */
  readonly progress?: number;
  /**
   * Returns the results by part of a module. The caller frees them.
   * @param onModule called after each decomposition
   * @throws DomainError if the data allow no result
   */
  found(onModule?: (done: number, of: number) => void): Map<string, Tensor>;
  dispose(): void;
}

/** Observer attached to a model for one run. */
export class Preparation {
  constructor(
    readonly observer: Observer,
    private readonly model: Model,
    private readonly run: number,
    targets: readonly Linear[],
  ) {
    for (const linear of targets) linear.attach(run, observer.of(linear));
  }

  found(onModule?: (done: number, of: number) => void): NamedTensors {
    return this.observer.found(onModule);
  }

  dispose(): void {
    this.model.modules.detach(this.run);
    this.observer.dispose();
  }
}

/** Requirements of an initialization, known from the options. */
export interface StartNeeds {
  /** Field that selects the initialization, and its displayed form, as in `init_lora_weights "eva"`. */
  readonly field: string;
  readonly shown: string;
  /** Whether it must read the training data. */
  readonly data: boolean;
  /** Whether only the adapter's file has the options used in training, because the data change them. */
  readonly markedInFile: boolean;
  /** Whether the base's weights may be quantized. */
  readonly packed: boolean;
  /** Field that restricts the observer to rows with a label, if it is set. */
  readonly supervisedOnly?: string;
}
