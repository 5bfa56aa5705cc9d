/**
 * Parts of a forward of which autograd keeps nothing but what goes in: on the way back they are computed once more (Chen et
 * al. 2016, arXiv:1604.06174). The graph is the same, so that gradients have the bits that they have without.
 */
import { withGrad } from './autograd.js';
import { KernelError } from './errors.js';
import { native } from './native.js';
import { free, keep, tidy, tidyLater } from './scope.js';
import type { Tensor } from './tensor.js';

/** By number, of all that are open. Hangs on the addon's exports, as the exchange buffer does. */
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

/** A part begins, or, with null, what is saved as ever in whatever part this is. */
function within<T>(part: number | null, fn: () => T): T {
  native().beginPart(part);
  try {
    return fn();
  } finally {
    native().endPart();
  }
}

/** Internal: for what a part makes only where no other has made it before. */
export const saved = <T>(fn: () => T): T => within(null, fn);

/** The parts of a forward, from its beginning to the end of its backward pass, when its owner disposes it. */
export class Recomputation {
  readonly #ends: (() => void)[] = [];

  /**
   * fn(x). On the way back `fn` is called once more, on the numbers of x: it must do the same, change nothing that outlives
   * it, and find all else that it reads as it was.
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

  /** Like `tidy`, but what `fn` has made beside its result lives as long as this: parts may read it. */
  hold<T>(fn: () => T): T {
    const { result, end } = tidyLater(fn);
    this.atEnd(end);
    return result;
  }

  /** Has `fn` called when this is disposed. */
  atEnd(fn: () => void): void {
    this.#ends.push(fn);
  }

  dispose(): void {
    for (const end of this.#ends.splice(0)) end();
  }
}
