/**
 * Networks that runs have beside a stack's blocks. One makes a state of the rows that go in, changes by it what blocks
 * read, and moves it on by what they give; each sees its own run's rows alone. n rows at hand, D hidden size.
 */
import { narrow } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { isFeatures, runRows } from '../batch.js';
import type { PackedRows, TaughtRows } from '../batch.js';
import type { BatchContext, ForwardContext } from '../context.js';
import type { CacheShape, KvCache } from '../kv-cache.js';
import { byRun } from '../rows.js';
import type { Slot } from './slots.js';

export interface SideNetwork {
  /** Of keys and values that it keeps itself of sequences that are continued. */
  readonly cache: CacheShape;
  /** Called once a forward. @param rows the run's, as they go into the stack */
  open(rows: PackedRows, ctx: BatchContext, cache: KvCache | undefined): SidePass;
}

/** One forward. */
export interface SidePass {
  /** What a block reads instead of x [n, D]. */
  before(layer: number, x: Tensor): Tensor;
  /** @param x what the block gave */
  after(layer: number, x: Tensor): void;
  /** Null where the head is taught nothing beside the last rows. */
  readonly taught: TaughtRows | null;
}

/** The networks of one forward. */
export class SidePasses {
  constructor(
    private readonly passes: ReadonlyMap<number, SidePass>,
    private readonly ctx: ForwardContext,
  ) {}

  before(layer: number, x: Tensor): Tensor {
    return byRun(x, this.ctx, (rows, run) => this.passes.get(run)?.before(layer, rows) ?? rows);
  }

  after(layer: number, x: Tensor): void {
    for (const { run, start, length } of this.ctx.rows) {
      const pass = this.passes.get(run);
      if (!pass) continue;
      const rows = narrow(x, 0, start, length);
      pass.after(layer, rows);
      rows.dispose();
    }
  }

  /** By run. */
  get taught(): Map<number, TaughtRows> {
    const all = [...this.passes].map(([run, { taught }]) => [run, taught] as const);
    return new Map(all.filter((each): each is readonly [number, TaughtRows] => each[1] !== null));
  }
}

/** Null where no run of the batch has one. */
export function openSides(
  slot: Slot<SideNetwork>,
  packed: PackedRows,
  ctx: ForwardContext,
  cache: KvCache | undefined,
): SidePasses | null {
  const passes = new Map<number, SidePass>();
  for (const { run } of ctx.rows) {
    const network = slot.of(run);
    if (network) passes.set(run, network.open(rowsOf(packed, run, cache), ctx, cache?.side(run)));
  }
  return passes.size === 0 ? null : new SidePasses(passes, ctx);
}

/** A run's part of what goes in. */
function rowsOf(
  { inputs, positions, sequences }: PackedRows,
  of: number,
  cache?: KvCache,
): PackedRows {
  const { start, length } = runRows(sequences).find(({ run }) => run === of) as { start: number; length: number }; // prettier-ignore
  return {
    inputs: isFeatures(inputs)
      ? { features: inputs.features.filter((_, i) => sequences[i]?.run === of) }
      : inputs instanceof Int32Array
        ? inputs.slice(start, start + length)
        : narrow(inputs, 0, start, length),
    positions: positions.slice(start, start + length),
    sequences: sequences
      .filter(({ run }) => run === of)
      .map(({ cache: handle, ...sequence }) => ({
        ...sequence,
        start: sequence.start - start,
        ...(cache && handle !== undefined && { cache: cache.sideOf(handle) }),
      })),
  };
}
