/** Random initial values, which depend only on a seed and the parameter's name. */
import { counterNormal, counterUniform, mul, sub, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';

/** Returns the stream number of a parameter: FNV-1a of its name, so that its initial value depends on nothing else. */
function stream(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

export const key = (seed: number, name: string): { seed: number; step: number; site: number } => ({
  seed,
  step: 0,
  site: stream(name),
});

/** U(-bound, bound) */
export const uniform = (
  shape: readonly number[],
  bound: number,
  seed: number,
  name: string,
): Tensor => tidy(() => mul(sub(counterUniform(shape, key(seed, name)), 0.5), 2 * bound));

/** N(0, deviation²) */
export const normal = (
  shape: readonly number[],
  deviation: number,
  seed: number,
  name: string,
): Tensor => tidy(() => mul(counterNormal(shape, key(seed, name)), deviation));
