/**
 * Places where a run inserts its own values into a model, in addition to adapters of its modules. p virtual tokens,
 * D hidden size.
 */
import type { Tensor } from '@graft/kernels';
import type { PromptTarget } from '../batch.js';
import type { RowContext } from '../context.js';

/**
 * Virtual tokens of one run: rows inserted before block 0, computed once per batch and seen by all sequences of the
 * run, or by those of a task.
 */
export interface VirtualInputs {
  /** Number of virtual tokens p of a prompt. */
  readonly length: number;
  /** Number of prompts, one per task. If omitted, one prompt serves all sequences. */
  readonly tasks?: number;
  /** Returns the prompt of a task (counted from 0), [p, D], in any float dtype. */
  embeddings(ctx: RowContext, taskId: number): Tensor;
  /** Prompt tokens that are trained themselves. Defaults to none. */
  readonly promptTargets?: readonly PromptTarget[];
}

/** Virtual keys and values of one run in every layer, without rotary embedding. */
export interface VirtualPrefix {
  /** Number of virtual positions p. */
  readonly length: number;
  /**
   * Called once per forward pass; the returned function, once per layer. k, v: [p, kv heads, head size] in the base
   * model's dtype.
   */
  open(ctx: RowContext): (layer: number) => { k: Tensor; v: Tensor };
}

/** Values by run, at most one per run. */
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
