/** Linears whose weights PEFT keeps in a form that a method does not take. */
import { DomainError } from '@graft/contracts';
import type { LinearShape } from '../nn/outline.js';

interface Takes {
  readonly name: string;
  readonly conv1d: boolean;
  readonly convolutions?: readonly number[];
}

/** @throws DomainError where PEFT could not read the file */
export function refuseWeights(
  { name, conv1d, convolutions = [] }: Takes,
  targets: readonly Pick<LinearShape, 'path' | 'transposed' | 'kernel'>[],
): void {
  const convolution = targets.find(
    ({ kernel }) => kernel && !convolutions.includes(kernel.length - 1),
  );
  if (convolution) {
    const message = `${name} does not adapt ${convolution.path}, which is a convolution; leave it out of target_modules, or choose another method`;
    throw new DomainError('unsupported', message, 'peft.target_modules');
  }
  const stored = conv1d ? undefined : targets.find(({ transposed }) => transposed);
  if (!stored) return;
  const message = `${name} does not adapt ${stored.path}: this model stores its weights as [in, out] (Conv1D), which PEFT does not support for this method; choose another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}
