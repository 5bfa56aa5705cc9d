/**
 * How much of each of its adapters a run takes, row by row (X-LoRA, arXiv:2402.07148). Rows go through the stack twice:
 * of what the first pass makes of them [n, D] comes what the adapters of the second are weighed with. In causal stacks a
 * row's first pass sees no later ones, so with a cache each pass continues its own keys and values.
 */
import { cat, narrow, noGrad } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { isFeatures } from '../batch.js';
import type { PackedRows, Rows, Sequence } from '../batch.js';
import type { BatchContext, RowContext } from '../context.js';
import type { KvCache } from '../kv-cache.js';
import { rowContext } from '../rows.js';
import type { Slot } from './slots.js';

/** What weighs a run's adapters. */
export interface Scaler {
  /** What the first pass of n rows is weighed with; null: the adapters do not act in it. */
  first(rows: number): Tensor | null;
  /** What the second is weighed with. hidden: [n, D], what the first has made. */
  second(hidden: Tensor, ctx: RowContext): Tensor;
}

/** Of the runs whose adapters are weighed; null: the adapters do not act. */
export type Scalings = ReadonlyMap<number, Tensor | null>;

interface Passes {
  readonly scaling: Slot<Scaler>;
  forward(packed: PackedRows, given: BatchContext, more: { cache?: KvCache | undefined }): Rows;
}

/**
 * What a pass of these rows is weighed with: in a second pass found by a first.
 * @param module number of a module that such runs do not have, for dropout
 */
export function scalingsOf(
  stack: Passes,
  packed: PackedRows,
  given: BatchContext,
  module: number,
  cache?: KvCache,
): Scalings | undefined {
  if (given.scalings) return given.scalings;
  const weighed = packed.sequences.filter(({ run }) => stack.scaling.of(run));
  if (weighed.length === 0) return undefined;
  const first = rowsOf(packed, weighed, cache);
  const lengths = new Map<number, number>();
  for (const { run, length } of first.sequences) lengths.set(run, (lengths.get(run) ?? 0) + length);
  const scalers = [...lengths].map(([run, rows]) => [run, rows, stack.scaling.of(run)] as const);
  const scalings = new Map(
    scalers.map(([run, rows, scaler]) => [run, scaler?.first(rows) ?? null]),
  );
  const { hidden } = noGrad(() => stack.forward(first, { ...given, scalings }, { cache }));
  let start = 0;
  const rows = scalers.map(([run, length]) => {
    start += length;
    return { run, start: start - length, length };
  });
  const ctx = { ...given, rows, sequences: first.sequences };
  return new Map(
    scalers.map(([run, length, scaler], i) => {
      const own = narrow(hidden, 0, rows[i]?.start ?? 0, length);
      return [run, (scaler as Scaler).second(own, rowContext(ctx, run, module))];
    }),
  );
}

/** The rows of some sequences, under the handles that the cache has for a first pass. */
function rowsOf(
  { inputs, positions, types, sequences: all }: PackedRows,
  sequences: readonly Sequence[],
  cache?: KvCache,
): PackedRows {
  const numbers = (all: Int32Array): Int32Array =>
    Int32Array.from(
      sequences.flatMap(({ start, length }) => [...all.subarray(start, start + length)]),
    );
  let at = 0;
  return {
    inputs: isFeatures(inputs)
      ? { features: sequences.map((one) => inputs.features[all.indexOf(one)] as Tensor) }
      : inputs instanceof Int32Array
        ? numbers(inputs)
        : cat(sequences.map(({ start, length }) => narrow(inputs, 0, start, length))),
    positions: numbers(positions),
    ...(types && { types: numbers(types) }),
    sequences: sequences.map(({ cache: handle, ...sequence }) => {
      at += sequence.length;
      return {
        ...sequence,
        start: at - sequence.length,
        ...(cache && handle !== undefined && { cache: cache.firstPass(handle) }),
      };
    }),
  };
}
