// The training and validation data of a run, and the examples of each step.
import { EVALUATED_BEFORE_END, type Spec } from '@graft/contracts';
import { permutation } from '../data/permutation.js';
import type { MediaStore } from '../data/media-store.js';
import type { Example } from '../tasks/task.js';
import { cursorAt, stepsPerEpoch, totalSteps, type Cursor } from './cursor.js';

export interface RunDataParts {
  /** Line numbers of the training examples in their file, if the run reports them. */
  readonly lines?: readonly number[];
  /**
   * Returns the variant of a training example for an epoch. The default is the same example in every epoch.
   * @param place index of the example in the training data
   */
  readonly varied?: ((example: Example, epoch: number, place: number) => Example) | undefined;
  /** Store that examples of images and audio are read from; the run owns it. */
  readonly store?: MediaStore | null;
}

export class RunData {
  readonly lines: readonly number[];
  readonly totalSteps: number;
  private permutation: { epoch: number; indices: Uint32Array } | null = null;

  constructor(
    private readonly spec: Spec,
    readonly examples: readonly Example[],
    readonly validation: readonly Example[],
    private readonly parts: RunDataParts = {},
  ) {
    this.lines = parts.lines ?? [];
    this.totalSteps = totalSteps(spec, examples.length);
  }

  /** Examples of the optimizer step `step`, counted from 0. */
  at(step: number): Example[] {
    const { epoch, from, to } = this.cursor(step);
    if (this.permutation?.epoch !== epoch) {
      const { seed, shuffle } = this.spec;
      this.permutation = {
        epoch,
        indices: permutation(seed, epoch, this.examples.length, shuffle),
      };
    }
    const { varied } = this.parts;
    return Array.from(this.permutation.indices.subarray(from, to), (index) => {
      const example = this.examples[index] as Example;
      return varied ? varied(example, epoch, index) : example;
    });
  }

  cursor(step: number): Cursor {
    return cursorAt(this.spec, this.examples.length, step);
  }

  /** Whether an epoch ends after this many steps. */
  endsEpoch(step: number): boolean {
    return step % stepsPerEpoch(this.spec, this.examples.length) === 0;
  }

  /** Whether the loss ledger is requested for the epoch that ends there. */
  endsLedgerEpoch(step: number): boolean {
    const asked = this.spec.loss_ledger_epochs ?? [];
    return asked.some((epoch) => epoch * stepsPerEpoch(this.spec, this.examples.length) === step);
  }

  /** Builds the store of its examples, if it does not exist yet, in pieces. */
  *making(onProgress: (share: number) => void): Generator<void, void> {
    if (this.parts.store) yield* this.parts.store.making(onProgress);
  }

  dispose(): void {
    this.parts.store?.close();
  }

  /** All validation data, for the evaluation at the end. */
  get whole(): { examples: readonly Example[]; full: true } {
    return { examples: this.validation, full: true };
  }

  /** Sample of the validation data that all evaluations share, so that they can be compared. */
  get sample(): { examples: readonly Example[]; full: boolean } {
    const { validation } = this;
    const examples = validation.slice(0, EVALUATED_BEFORE_END);
    return { examples, full: examples.length === validation.length };
  }

  /** Data of the first evaluation at the end: the sample if the best evaluation is selected. */
  get atEnd(): { examples: readonly Example[]; full: boolean } {
    return this.spec.load_best_model_at_end ? this.sample : this.whole;
  }

  /** Validation examples to evaluate after this many steps: none, a sample, or all of them at the end. */
  evaluationAt(step: number): { examples: readonly Example[]; full: boolean } | null {
    const { validation, spec } = this;
    if (validation.length === 0) return null;
    if (step >= this.totalSteps) return this.atEnd;
    if (spec.eval_steps === 0 || step % spec.eval_steps !== 0) return null;
    return this.sample;
  }
}
