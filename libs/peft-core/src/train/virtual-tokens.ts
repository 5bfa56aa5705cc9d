import type { Model } from '../models/model.js';

/** Positions that a run's virtual tokens or prefix take. */
export function virtualTokens(model: Model, run: number): number {
  return (model.sites.inputs.of(run)?.length ?? 0) + (model.sites.prefix.of(run)?.length ?? 0);
}
