/**
 * Row-wise weights of a run's adapters (X-LoRA, arXiv:2402.07148). Rows go through the stack twice: the output of the
 * first pass [n, D] determines the weights of the adapters in the second. In causal stacks the first pass of a row sees
 * no later rows, so with a cache each pass continues its own keys and values.
 */
import { cat, narrow, noGrad } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { isFeatures } from '../batch.js';
import type { PackedRows, Rows, Sequence } from '../batch.js';
import type { BatchContext, RowContext } from '../context.js';
import type { KvCache } from '../kv-cache.js';
import { rowContext } from '../rows.js';
import type { Slot } from './slots.js';

/** Computes the weights of a run's adapters. */
export interface Scaler {
  /** Returns the weights in the first pass of n rows. Null if the adapters do not act in it. */
  first(rows: number): Tensor | null;
  /** Returns the weights in the second pass. hidden: [n, D], output of the first pass. */
  second(hidden: Tensor, ctx: RowContext): Tensor;
}

/** Weights by run, for runs with weighted adapters. Null if the adapters do not act. */
export type Scalings = ReadonlyMap<number, Tensor | null>;

interface Passes {
  readonly scaling: Slot<Scaler>;
  forward(packed: PackedRows, given: BatchContext, more: { cache?: KvCache | undefined }): Rows;
}

/**
 * Returns the weights for a pass over these rows, which the second pass computes from a first pass.
 * @param module index of a module that such runs do not have, for dropout
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

/** Returns the rows of some sequences, with the cache handles of their first pass. */
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
