// What a model makes of inputs where it writes nothing: one forward for several of them.
import { noGrad, tidy } from '@graft/kernels';
import type { Model } from '../models/model.js';
import type { Example, Inference, Share } from '../tasks/task.js';

/** One answer an example, share by share. Shares of one run follow each other. */
export function answersTo<E extends Example, O>(
  infer: Inference<E, O>,
  model: Model,
  shares: readonly Share<E, O>[],
): unknown[] {
  const ctx = { training: false, runs: new Map() };
  return noGrad(() => tidy(() => infer.answer(model, shares, ctx)));
}
