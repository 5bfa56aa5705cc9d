/** Linear layers whose weights PEFT stores in a form that a method does not support. */
import { DomainError } from '@graft/contracts';
import type { LinearShape } from '../../nn/outline/outline.js';

interface Takes {
  readonly name: string;
  readonly conv1d: boolean;
  readonly convolutions?: readonly number[];
  readonly noConvolutions?: string;
}

type Target = Pick<LinearShape, 'path' | 'transposed' | 'kernel' | 'adaptable'>;

/** Rejects such targets. @throws DomainError if PEFT could not read the file or run the adapter */
export function refuseWeights(method: Takes, targets: readonly Target[]): void {
  const { name, convolutions = [], noConvolutions: reason } = method;
  const refuse = (what: string, param: string): never => {
    throw new DomainError('unsupported', `${name} does not support ${what}`, param);
  };
  const others = 'remove it from target_modules, or choose another method';
  for (const { path, kernel, transposed, adaptable } of targets) {
    if (kernel && !convolutions.includes(kernel.length - 1)) {
      const why = reason ?? `as in PEFT (Conv${kernel.length - 1}d)`;
      refuse(`${path}, which is a convolution: ${why}; ${others}`, 'peft.target_modules');
    }
    if (adaptable === false)
      refuse(
        `${path}: transformers reads its stride, which PEFT's layers do not have, so the adapted model would not run; remove it from target_modules, or train it whole with modules_to_save`,
        'peft.target_modules',
      );
    if (transposed && !method.conv1d)
      refuse(
        `${path}: this model stores its weights as [in, out] (Conv1D), which PEFT does not support for this method; choose another method`,
        'peft.peft_type',
      );
  }
}
