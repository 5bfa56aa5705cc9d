/** Parameters that train, and how they start. */
import {
  clone,
  contiguous,
  copy_,
  counterNormal,
  counterUniform,
  keep,
  mul,
  noGrad,
  sub,
  tidy,
  to,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { NamedTensors } from './method.js';

/** An f32 copy that trains and that its adapter disposes. */
export function leaf(values: Tensor): Tensor {
  const copy = noGrad(() =>
    tidy(() => contiguous(values.dtype === 'f32' ? clone(values) : to(values, 'f32'))),
  );
  const parameter = keep(copy);
  parameter.requiresGrad = true;
  return parameter;
}

/** Stream number of a parameter: FNV-1a of its name, so that an initial value depends on nothing else. */
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

/** Copies stored values into parameters of the same names. @throws DomainError invalid_adapter when they do not fit */
export function restore(parameters: NamedTensors, stored: NamedTensors): void {
  const missing = [...parameters.keys()].filter((name) => !stored.has(name));
  const unexpected = [...stored.keys()].filter((name) => !parameters.has(name));
  if (missing.length > 0 || unexpected.length > 0) {
    const list = (names: string[]): string =>
      names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '');
    const parts = [];
    if (missing.length > 0) parts.push(`lacks ${missing.length} tensors (${list(missing)})`);
    if (unexpected.length > 0)
      parts.push(`has ${unexpected.length} that do not belong (${list(unexpected)})`);
    throw new DomainError('invalid_adapter', `the adapter ${parts.join(' and ')}`);
  }
  for (const [name, parameter] of parameters) {
    const value = stored.get(name) as Tensor;
    if (value.shape.join() !== parameter.shape.join()) {
      const [got, want] = [value.shape.join(', '), parameter.shape.join(', ')];
      throw new DomainError(
        'invalid_adapter',
        `the adapter's ${name} is [${got}], the model needs [${want}]`,
      );
    }
  }
  noGrad(() => {
    for (const [name, parameter] of parameters) copy_(parameter, stored.get(name) as Tensor);
  });
}
