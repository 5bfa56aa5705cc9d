/** Updates of an adapter that answers are made with, and that trains no more, on a base in bf16. */
import { roundedFactors } from '@graft/kernels';
import type { Factors } from '@graft/kernels';
import type { Linear } from '../../nn/layers/linear.js';

/** An update whose factors, in f32, are to be rounded. */
export interface Freezable {
  readonly factors: Factors;
  /** Puts others in their place, with which rows have the same bits. */
  freeze(rounded: Required<Factors>): void;
}

export interface Freezes {
  /** What it is made of where it is a product of low rank alone; null where it is more. */
  freezable?(): Freezable | null;
}

interface Target {
  readonly linear: Linear;
  readonly update: Freezes;
}

/** Rounds factors, all in one piece: all of it is read for each token. */
export function freeze(targets: readonly Target[]): void {
  const found = targets.flatMap(({ update }) => update.freezable?.() ?? []);
  if (found.length === 0) return;
  const rounded = roundedFactors(found.map(({ factors }) => factors));
  found.forEach((one, i) => one.freeze(rounded[i] as Required<Factors>));
  for (const { linear } of targets) linear.renew();
}
