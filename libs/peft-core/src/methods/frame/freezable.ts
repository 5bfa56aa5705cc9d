/** Rounding of an adapter's factors for inference, on a base in bf16. The adapter is no longer trained. */
import { roundedFactors } from '@graft/kernels';
import type { Factors } from '@graft/kernels';
import type { Linear } from '../../nn/layers/linear.js';

/** Update whose f32 factors can be rounded. */
export interface Freezable {
  readonly factors: Factors;
  /** Replaces the factors by rounded ones, which include the rows with equal bits. */
  freeze(rounded: Required<Factors>): void;
}

export interface Freezes {
  /** Returns the factors if the update is only a low-rank product; null otherwise. */
  freezable?(): Freezable | null;
}

interface Target {
  readonly linear: Linear;
  readonly update: Freezes;
}

/** Rounds the factors of all targets into one allocation, because every token reads all of them. */
export function freeze(targets: readonly Target[]): void {
  const found = targets.flatMap(({ update }) => update.freezable?.() ?? []);
  if (found.length === 0) return;
  const rounded = roundedFactors(found.map(({ factors }) => factors));
  found.forEach((one, i) => one.freeze(rounded[i] as Required<Factors>));
  for (const { linear } of targets) linear.renew();
}
