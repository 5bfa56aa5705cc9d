// Selects the examples of an optimizer step. It is a pure function of the step, so that a run can resume at
// any step. An epoch visits every example once; its last step takes the remaining examples, as in
// transformers' Trainer.
import type { Spec } from '@graft/contracts';

export interface Cursor {
  readonly epoch: number;
  /** First index in the epoch's order, and the index after the last. */
  readonly from: number;
  readonly to: number;
}

/** The options that decide how many steps a run has. */
export type Pace = Pick<
  Spec,
  'batch_size' | 'n_epochs' | 'gradient_accumulation_steps' | 'max_steps'
>;

type StepSize = Omit<Pace, 'n_epochs' | 'max_steps'>;

export function examplesPerStep(spec: StepSize): number {
  return spec.batch_size * spec.gradient_accumulation_steps;
}

export function stepsPerEpoch(spec: StepSize, examples: number): number {
  return Math.ceil(examples / examplesPerStep(spec));
}

export function totalSteps(spec: Pace, examples: number): number {
  const whole = spec.n_epochs * stepsPerEpoch(spec, examples);
  return spec.max_steps === null ? whole : Math.min(spec.max_steps, whole);
}

/** @param step counts from 0 */
export function cursorAt(spec: Spec, examples: number, step: number): Cursor {
  const each = stepsPerEpoch(spec, examples);
  const from = (step % each) * examplesPerStep(spec);
  return {
    epoch: Math.floor(step / each),
    from,
    to: Math.min(examples, from + examplesPerStep(spec)),
  };
}
