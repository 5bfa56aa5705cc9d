// Which examples an optimiser step sees: a pure function of the step, so that resuming is a jump. An
// epoch visits every example once; its last step takes what is left, as transformers' Trainer does.
import type { Spec } from '@graft/contracts';

export interface Cursor {
  readonly epoch: number;
  /** First position in the epoch's order, and the one after the last. */
  readonly from: number;
  readonly to: number;
}

export function examplesPerStep(spec: Spec): number {
  return spec.batch_size * spec.gradient_accumulation_steps;
}

export function stepsPerEpoch(spec: Spec, examples: number): number {
  return Math.ceil(examples / examplesPerStep(spec));
}

export function totalSteps(spec: Spec, examples: number): number {
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
