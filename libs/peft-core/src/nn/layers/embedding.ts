import { embedding, mul, Tensor, tensor, to } from '@graft/kernels';
import type { Dtype } from '@graft/kernels';
import type { ForwardContext } from '../context.js';
import { tableName } from '../outline/outline.js';
import { byRun, touches } from '../rows.js';
import type { ParameterOverride } from '../rows.js';
import { DenseWeight } from '../weight.js';
import type { TableWeight, Weight } from '../weight.js';

/** One run's adapter of a table: its own rows, or another output [n, D] for ids [n], in y's dtype. */
export interface EmbeddingAdapter extends Pick<ParameterOverride, 'weight'> {
  after?(y: Tensor, ids: Tensor): Tensor;
}

export interface PackedTable {
  readonly weight: TableWeight;
  /** Dtype of the rows that it returns. */
  readonly dtype: Dtype;
}

/**
 * Embedding table whose rows are multiplied by a scale, rounded to the table's dtype. n ids, V vocabulary, D
 * hidden size.
 */
export class Embedding {
  readonly #attached = new Map<number, EmbeddingAdapter>();

  constructor(
    readonly path: string,
    /** [V, D] */
    private readonly table: Tensor | PackedTable,
    readonly scale = 1,
    /** Shape in files, if the path names a parameter rather than a module. */
    readonly parameter?: readonly number[],
  ) {}

  /** Table: the tensor itself, or a new handle in the current scope if it is quantized. */
  get weight(): Tensor {
    const { table } = this;
    return table instanceof Tensor ? table : table.weight.dense(table.dtype);
  }

  get shape(): readonly number[] {
    const { table } = this;
    return table instanceof Tensor
      ? table.shape
      : [table.weight.outFeatures, table.weight.inFeatures];
  }

  /** Weight of a tied head. */
  get shared(): Weight {
    return this.table instanceof Tensor ? new DenseWeight(this.table) : this.table.weight;
  }

  /** Parameter name in files. */
  get name(): string {
    return tableName(this);
  }

  attach(run: number, adapter: EmbeddingAdapter): void {
    this.#attached.set(run, adapter);
  }

  detach(run: number): void {
    this.#attached.delete(run);
  }

  /** Returns the table for a run's rows. */
  of(run: number): Tensor {
    return this.#attached.get(run)?.weight ?? this.weight;
  }

  /** ids: i64 [n] → [n, D] in the base's dtype */
  forward(ids: Tensor, ctx: ForwardContext): Tensor {
    if (!touches(this.#attached, ctx.rows)) return this.rows(ids);
    const read = byRun(ids, ctx, (rows, run) => {
      const own = this.#attached.get(run);
      const y = own?.weight ? embedding(own.weight, rows) : this.#read(rows);
      return own?.after ? own.after(y, rows) : to(y, this.table.dtype);
    });
    return this.#scaled(read);
  }

  /** Returns the frozen table's rows for ids. */
  rows(ids: Tensor): Tensor {
    return this.#scaled(this.#read(ids));
  }

  #read(ids: Tensor): Tensor {
    const { table } = this;
    return table instanceof Tensor ? embedding(table, ids) : table.weight.rows(ids, table.dtype);
  }

  #scaled(y: Tensor): Tensor {
    return this.scale === 1 ? y : mul(y, to(tensor([this.scale], [1]), y.dtype));
  }
}
