/**
 * Head of a task. Each run has its own.
 *
 *   y = W norm(act(V h + c)) + b      h: [n, D]  V: [D, D]  W: [outputs, D]  y: [n, outputs]; or y = W h + b
 *
 * Some families omit the norm, or compute y = W norm(h) + b. h are the last hidden states, or a weighted sum
 * of all layers (layer-sum.ts). W is initialized and trained for each run. So is V, if the base model's files
 * do not contain it.
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
  /** Number of leading rows that the pool skips. */
  readonly skips: number;
  readonly hidden: Linear | null;
  /** Norm of the activated hidden layer. */
  readonly norm: Norm | null;
  /** Norm of the head's input, initialized with the head. */
  readonly ownNorm: Norm | null;
  readonly output: Linear;
  /** Layers whose weighted sum the head reads; null: it reads the last hidden states. */
  readonly layerSum: { readonly weights: Embedding; readonly last: LastOfSum } | null;
  /** Linear layers that the base model's files do not contain. */
  readonly made: readonly Linear[];
  /** Frees the head's tensors. */
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
