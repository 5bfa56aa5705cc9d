import { embedding, mul, tensor, to } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { ForwardContext } from './context.js';
import { tableName } from './outline.js';
import { byRun, touches } from './rows.js';
import type { ParameterOverride } from './rows.js';

/** What one run's adapter makes of a table: rows of its own, and another output [n, D] for its ids [n], in y's dtype. */
export interface EmbeddingAdapter extends Pick<ParameterOverride, 'weight'> {
  after?(y: Tensor, ids: Tensor): Tensor;
}

/** Rows of a table, times its scale, which is rounded to the table's dtype. Letters: n ids, V vocabulary, D hidden size. */
export class Embedding {
  readonly #attached = new Map<number, EmbeddingAdapter>();

  constructor(
    readonly path: string,
    /** [V, D] */
    readonly weight: Tensor,
    readonly scale = 1,
    /** Its shape in files where it is a parameter that its path alone names. */
    readonly parameter?: readonly number[],
  ) {}

  /** What files call it. */
  get name(): string {
    return tableName(this);
  }

  attach(run: number, adapter: EmbeddingAdapter): void {
    this.#attached.set(run, adapter);
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** The table that a run's rows read. */
  of(run: number): Tensor {
    return this.#attached.get(run)?.weight ?? this.weight;
  }

  /** ids: i64 [n] → [n, D] in the base's dtype */
  forward(ids: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return this.rows(ids);
    const read = byRun(ids, ctx, (rows, run) => {
      const own = this.#attached.get(run);
      const y = embedding(own?.weight ?? this.weight, rows);
      return own?.after ? own.after(y, rows) : to(y, this.weight.dtype);
    });
    return this.#scaled(read);
  }

  /** What the frozen table has for ids. */
  rows(ids: Tensor): Tensor {
    return this.#scaled(embedding(this.weight, ids));
  }

  #scaled(y: Tensor): Tensor {
    return this.scale === 1 ? y : mul(y, to(tensor([this.scale], [1]), y.dtype));
  }
}
