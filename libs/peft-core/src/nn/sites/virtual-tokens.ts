import type { Model } from '../../models/model.js';

/** Positions that a run's virtual tokens or prefix take. */
export function virtualTokens(model: Model, run: number): number {
  return (model.modules.inputs.of(run)?.length ?? 0) + (model.modules.prefix.of(run)?.length ?? 0);
}
