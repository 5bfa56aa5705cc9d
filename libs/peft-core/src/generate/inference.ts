// Inference without text generation: one forward pass for several inputs.
import { noGrad, tidy } from '@graft/kernels';
import type { Model } from '../models/model.js';
import type { Example, Inference, Share } from '../tasks/task.js';

/** Returns one result per example, share by share. */
export function answersTo<E extends Example, O>(
  infer: Inference<E, O>,
  model: Model,
  shares: readonly Share<E, O>[],
): unknown[] {
  const ctx = { training: false, runs: new Map() };
  return noGrad(() => tidy(() => infer.answer(model, shares, ctx)));
}
