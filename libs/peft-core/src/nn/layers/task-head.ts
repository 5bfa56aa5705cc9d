/**
 * The head of a task, one run's own: what it makes of the rows that it reads.
 *
 *   y = W norm(act(V h + c)) + b      h: [n, D]  V: [D, D]  W: [outputs, D]  y: [n, outputs]; or y = W h + b
 *
 * of some families without the norm, or y = W norm(h) + b. h are the last rows, or a sum of all layers' (layer-sum.ts). W is made anew for a run and trains, and V where the base's files have none.
 */
import { gelu, relu, tanh, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import type { Embedding } from './embedding.js';
import type { LastOfSum } from './layer-sum.js';
import type { Linear } from './linear.js';
import type { Norm } from './norm.js';
import type { HeadPool, TaskHeadKind, TaskHeadPaths } from '../outline/model-paths.js';

type Activation = NonNullable<TaskHeadPaths['hidden']>['activation'];

const ACTIVATIONS: Readonly<Record<Activation, (x: Tensor) => Tensor>> = {
  tanh,
  relu,
  gelu: (x) => gelu(x),
  none: (x) => x,
};

export interface TaskHeadParts {
  readonly kind: TaskHeadKind;
  readonly paths: TaskHeadPaths;
  readonly pool: HeadPool;
  /** Of a pool that leaves the first rows out: how many. */
  readonly skips: number;
  readonly hidden: Linear | null;
  /** Of what was activated, */
  readonly norm: Norm | null;
  /** or of what it reads: made with it. */
  readonly ownNorm: Norm | null;
  readonly output: Linear;
  /** Of the layers that it reads a sum of; null: it reads the last. */
  readonly layerSum: { readonly weights: Embedding; readonly last: LastOfSum } | null;
  /** Of the linears those that the base's files lack. */
  readonly made: readonly Linear[];
  /** Frees what they are made of. */
  dispose(): void;
}

export class TaskHead {
  readonly kind: TaskHeadKind;
  readonly pool: HeadPool;
  readonly skips: number;
  readonly made: readonly Linear[];
  readonly norm: Norm | null;
  readonly ownNorm: Norm | null;
  readonly layerSum: TaskHeadParts['layerSum'];
  readonly #parts: TaskHeadParts;

  constructor(parts: TaskHeadParts) {
    this.#parts = parts;
    this.kind = parts.kind;
    this.pool = parts.pool;
    this.made = parts.made;
    this.norm = parts.norm;
    this.ownNorm = parts.ownNorm;
    this.layerSum = parts.layerSum;
    this.skips = parts.skips;
  }

  /** h: [n, D] → [n, outputs] */
  forward(h: Tensor, ctx: ForwardContext): Tensor {
    const { hidden, norm, ownNorm, output, paths } = this.#parts;
    return tidy(() => {
      const activate = paths.hidden && ACTIVATIONS[paths.hidden.activation];
      const seen = ownNorm?.forward(h, ctx) ?? h;
      const read = hidden && activate ? activate(hidden.forward(seen, ctx)) : seen;
      return output.forward(norm?.forward(read, ctx) ?? read, ctx);
    });
  }

  dispose(): void {
    this.#parts.dispose();
  }
}
