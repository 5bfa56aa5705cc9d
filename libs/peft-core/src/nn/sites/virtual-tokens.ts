import type { Modules } from './modules.js';

/** Returns the number of positions that a run's virtual tokens or prefix take. */
export function virtualTokens({ modules }: { readonly modules: Modules }, run: number): number {
  return (modules.inputs.of(run)?.length ?? 0) + (modules.prefix.of(run)?.length ?? 0);
}
