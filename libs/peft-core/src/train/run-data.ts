// What a run learns from, and which of it a step sees.
import { EVALUATED_BEFORE_END, type Spec } from '@graft/contracts';
import { permutation } from '../data/permutation.js';
import type { MediaStore } from '../data/media-store.js';
import type { Example } from '../tasks/task.js';
import { cursorAt, stepsPerEpoch, totalSteps, type Cursor } from './cursor.js';

export interface RunDataParts {
  /** Lines of the training examples in their file, where somebody asks for them. */
  readonly lines?: readonly number[];
  /** A training example as an epoch has it; left out, the same in each. @param place of it among them */
  readonly varied?: ((example: Example, epoch: number, place: number) => Example) | undefined;
  /** What examples of pictures and sounds are read from: its own. */
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

  /** Examples of the optimiser step `step`, counted from 0. */
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

  /** Whether a pass over the examples ends with so many steps done. */
  endsEpoch(step: number): boolean {
    return step % stepsPerEpoch(this.spec, this.examples.length) === 0;
  }

  /** Whether that pass is one whose ledger is asked for. */
  endsLedgerEpoch(step: number): boolean {
    const asked = this.spec.loss_ledger_epochs ?? [];
    return asked.some((epoch) => epoch * stepsPerEpoch(this.spec, this.examples.length) === step);
  }

  /** Makes what its examples are read from, where that is not there yet; in pieces. */
  *making(onProgress: (share: number) => void): Generator<void, void> {
    if (this.parts.store) yield* this.parts.store.making(onProgress);
  }

  dispose(): void {
    this.parts.store?.close();
  }

  /** What a run is measured by at its end. */
  get whole(): { examples: readonly Example[]; full: true } {
    return { examples: this.validation, full: true };
  }

  /** What evaluations of all steps have in common: they are compared by it. */
  get sample(): { examples: readonly Example[]; full: boolean } {
    const { validation } = this;
    const examples = validation.slice(0, EVALUATED_BEFORE_END);
    return { examples, full: examples.length === validation.length };
  }

  /** What a run is measured by first at its end: by the sample where the best of its evaluations is looked for. */
  get atEnd(): { examples: readonly Example[]; full: boolean } {
    return this.spec.load_best_model_at_end ? this.sample : this.whole;
  }

  /** Validation examples to look at when so many steps are done: none, a sample, or all of them at the end. */
  evaluationAt(step: number): { examples: readonly Example[]; full: boolean } | null {
    const { validation, spec } = this;
    if (validation.length === 0) return null;
    if (step >= this.totalSteps) return this.atEnd;
    if (spec.eval_steps === 0 || step % spec.eval_steps !== 0) return null;
    return this.sample;
  }
}
