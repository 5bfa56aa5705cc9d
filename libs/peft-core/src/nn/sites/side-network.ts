/**
 * Side networks of runs, next to a stack's blocks. A side network computes a state from the input rows, uses it to
 * modify the input of blocks, and updates it from their output. Each sees only the rows of its own run. n current rows,
 * D hidden size.
 */
import { narrow } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { isFeatures, runRows } from '../batch.js';
import type { PackedRows, AuxiliaryRows } from '../batch.js';
import type { BatchContext, ForwardContext } from '../context.js';
import type { CacheShape, KvCache } from '../kv-cache.js';
import { byRun } from '../rows.js';
import type { Slot } from './slots.js';

export interface SideNetwork {
  /** Shape of the side network's own cache for continued sequences. */
  readonly cache: CacheShape;
  /** Starts a forward pass. @param rows the run's input rows of the stack */
  open(rows: PackedRows, ctx: BatchContext, cache: KvCache | undefined): SidePass;
}

/** One forward pass of a side network. */
export interface SidePass {
  /** Returns a block's input, which replaces x [n, D]. */
  before(layer: number, x: Tensor): Tensor;
  /** Updates the state. @param x output of the block */
  after(layer: number, x: Tensor): void;
  /** Rows with an auxiliary loss; null if there is none. */
  readonly auxiliary: AuxiliaryRows | null;
}

/** Side networks of one forward pass. */
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

  /** Rows with an auxiliary loss, by run. */
  get auxiliary(): Map<number, AuxiliaryRows> {
    const all = [...this.passes].map(([run, { auxiliary }]) => [run, auxiliary] as const);
    return new Map(
      all.filter((each): each is readonly [number, AuxiliaryRows] => each[1] !== null),
    );
  }
}

/** Starts the side networks of a batch. Returns null if no run has one. */
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

/** Returns a run's part of the input. */
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
