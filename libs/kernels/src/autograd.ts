import { write } from './call.js';
import { KernelError, reason } from './errors.js';
import { settle } from './exchange.js';
import { native } from './native.js';
import { describe, takeTensor } from './tensor.js';
import type { Tensor } from './tensor.js';

let recording = true;

/** Whether operations are recorded for autograd (torch.is_grad_enabled). */
export const isGradEnabled = (): boolean => recording;

/** Runs `fn` without recording for autograd. `fn` must be synchronous. */
export const noGrad = <T>(fn: () => T): T => withGrad(false, fn);

/** Internal: runs `fn` with recording enabled or disabled. */
export function withGrad<T>(on: boolean, fn: () => T): T {
  const before = native().setGradEnabled(on);
  const outside = recording;
  recording = on;
  try {
    return fn();
  } finally {
    native().setGradEnabled(before);
    recording = outside;
  }
}

/** Accumulates gradients of all `outputs` in the leaves; a null gradient means 1 (for one-element outputs). */
export function backward(outputs: readonly Tensor[], grads: readonly (Tensor | null)[]): void {
  if (outputs.length !== grads.length) {
    throw new KernelError(
      'backward',
      `backward: ${outputs.length} outputs but ${grads.length} gradients`,
    );
  }
  guard('backward', outputs, () => {
    write(grads, write(outputs, 0));
    native().backward();
  });
}

/**
 * Gradients of `outputs` with respect to `inputs` (torch.autograd.grad); null for inputs that the outputs do not depend
 * on. Does not accumulate in `.grad`, and frees the graph.
 */
export function grad(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  gradOutputs: readonly (Tensor | null)[] = outputs.map(() => null),
): (Tensor | null)[] {
  return guard('grad', [...outputs, ...inputs], () => {
    write(gradOutputs, write(inputs, write(outputs, 0)));
    const data = settle(native().gradients());
    const results: (Tensor | null)[] = [];
    for (let at = 1; results.length < inputs.length;) {
      const tensor = takeTensor(data, at);
      results.push(tensor);
      at += tensor ? 5 + tensor.shape.length : 1;
    }
    return results;
  });
}

function guard<T>(op: string, tensors: readonly Tensor[], fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (error instanceof KernelError) throw error;
    const shapes = tensors.slice(0, 8).map(describe).join(', ');
    throw new KernelError(op, `${op}(${shapes}): ${reason(error)}`, { cause: error });
  }
}
