/** Where a run puts something of its own into a model, besides adapters of its modules. p virtual tokens, D hidden size. */
import type { Tensor } from '@graft/kernels';
import type { LearntToken } from '../batch.js';
import type { RowContext } from '../context.js';

/**
 * Virtual tokens of one run: rows put before block 0, computed once per batch and seen by all its sequences, or by those
 * of a task.
 */
export interface VirtualInputs {
  /** p */
  readonly length: number;
  /** How many prompts there are, one a task; left out, one for all sequences. */
  readonly tasks?: number;
  /** [p, D], any float dtype: the prompt of a task, counted from 0 */
  embeddings(ctx: RowContext, taskId: number): Tensor;
  /** Which of them are learnt themselves; left out, none. */
  readonly learnt?: readonly LearntToken[];
}

/** Virtual keys and values of one run in every layer. They carry no rotation. */
export interface VirtualPrefix {
  /** p */
  readonly length: number;
  /** Called once per forward; the result, once per layer. k, v: [p, kv heads, head size] in the base's dtype. */
  open(ctx: RowContext): (layer: number) => { k: Tensor; v: Tensor };
}

/** At most one of a kind per run. */
export class Slot<T> {
  readonly #attached = new Map<number, T>();

  attach(run: number, virtual: T): void {
    this.#attached.set(run, virtual);
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  of(run: number): T | undefined {
    return this.#attached.get(run);
  }
}
