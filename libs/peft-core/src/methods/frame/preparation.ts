/** What an adapter's start sees of its run's training data before the adapter is made. */
import type { Tensor } from '@graft/kernels';
import type { Model } from '../../models/model.js';
import type { Linear, LinearAdapter } from '../../nn/layers/linear.js';
import type { NamedTensors } from '../method.js';

/** What looks at the linears that an adapter will act on, while examples go through the base. */
export interface Observer {
  /** Whether losses are differentiated; otherwise examples only go through the base. */
  readonly differentiates: boolean;
  /** Whether each example goes by itself: a sample is then one of them, and else a micro-batch. */
  readonly apart: boolean;
  /** Whether rows that are not learnt are passed over. */
  readonly learntOnly: boolean;
  /** So many examples of the first epoch are enough; Infinity: it goes round them until it is done. */
  readonly examples: number;
  /** What it attaches to a linear. */
  of(linear: Linear): LinearAdapter;
  /** A sample comes. @param rows of its which count, in order [n], i64; null: all */
  begin(rows: Tensor | null): void;
  /** The sample has been through. Returns whether the same one is to come again. */
  end(): boolean;
  /** All examples have been through. @throws DomainError where more of them will not help */
  round?(): void;
  /** How far it is, 0 to 1, where it alone can tell: it is done at 1. */
  readonly progress?: number;
  /**
   * What it found, by part of a module: the caller's to free.
   * @param onModule called after each that is decomposed
   * @throws DomainError where nothing can be made of it
   */
  found(onModule?: (done: number, of: number) => void): Map<string, Tensor>;
  dispose(): void;
}

/** An observer on a model, for one run. */
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

/** What a start needs of a job, known from its options. */
export interface StartNeeds {
  /** The field that says so, and its value, as in `init_lora_weights "eva"`. */
  readonly field: string;
  readonly shown: string;
  /** Whether it must see the training data. */
  readonly data: boolean;
  /** Whether the adapter's file alone tells what it was trained with: the data have moved its options. */
  readonly toldByFile: boolean;
  /** Whether the base's weights may be packed. */
  readonly packed: boolean;
  /** The field that asks for rows that are learnt, where some are passed over. */
  readonly learntOnly?: string;
}
