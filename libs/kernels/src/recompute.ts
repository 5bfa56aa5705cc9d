/**
 * Gradient checkpointing: autograd saves only the input of each part of the forward pass, and the backward pass
 * recomputes the part (Chen et al. 2016, arXiv:1604.06174). The graph is the same, so gradients have the same bits as
 * without it.
 */
import { withGrad } from './autograd.js';
import { KernelError } from './errors.js';
import { native } from './native.js';
import { free, keep, tidy, tidyLater } from './scope.js';
import type { Tensor } from './tensor.js';

/** Open parts by number. Stored on the addon's exports, as the exchange buffer is. */
interface Parts {
  readonly open: Map<number, () => void>;
  last: number;
}

function parts(): Parts {
  const host = native() as { parts?: Parts };
  if (!host.parts) {
    const { open } = (host.parts = { open: new Map(), last: 0 });
    native().onCompute((number) => {
      const compute = open.get(number);
      if (!compute)
        throw new KernelError('backward', 'backward: its Recomputation was disposed before');
      compute();
    });
  }
  return host.parts;
}

/** Runs `fn` as a part; null saves all tensors, even inside a part. */
function within<T>(part: number | null, fn: () => T): T {
  native().beginPart(part);
  try {
    return fn();
  } finally {
    native().endPart();
  }
}

/** Internal: for tensors that only the first part to need them creates. */
export const saved = <T>(fn: () => T): T => within(null, fn);

/** Parts of a forward pass, from its start to the end of its backward pass, when its owner disposes it. */
export class Recomputation {
  readonly #ends: (() => void)[] = [];

  /**
   * Returns fn(x). The backward pass calls `fn` again on the values of x. It must do the same, change nothing that
   * outlives it, and find all its other inputs unchanged.
   */
  through(x: Tensor, fn: (x: Tensor) => Tensor): Tensor {
    const { open } = parts();
    const number = ++parts().last;
    const own = keep(x.detach());
    if (x.requiresGrad) own.requiresGrad = true;
    const end = (): void => {
      open.delete(number);
      free(own);
    };
    open.set(number, () => {
      withGrad(true, () => tidy(() => void fn(own)));
      end();
    });
    this.#ends.push(end);
    return within(number, () => fn(x));
  }

  /**
   * Like `tidy`, but tensors that `fn` creates besides its result live as long as this object, because parts may read
   * them.
   */
  hold<T>(fn: () => T): T {
    const { result, end } = tidyLater(fn);
    this.atEnd(end);
    return result;
  }

  /** Registers `fn` to be called on disposal. */
  atEnd(fn: () => void): void {
    this.#ends.push(fn);
  }

  dispose(): void {
    for (const end of this.#ends.splice(0)) end();
  }
}
