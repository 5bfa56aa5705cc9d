/**
 * Where an adapter begins to act in a sequence: at the last of the tokens that invoke it (aLoRA, arXiv:2504.12397). Rows
 * before have the base's keys and values, whoever reads them.
 */
import { tensor, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import type { PackedRows, RunRows } from '../batch.js';
import type { Slot } from './slots.js';

/** The tokens that invoke a run's adapter. */
export interface Invocation {
  readonly tokens: readonly number[];
}

/** Where the last of these tokens begin, or null. */
export function invokedAt(
  { tokens }: Invocation,
  sequence: { readonly length: number; readonly [place: number]: number },
): number | null {
  for (let at = sequence.length - tokens.length; at >= 0; at--)
    if (tokens.every((token, i) => sequence[at + i] === token)) return at;
  return null;
}

/**
 * 1 where the run's adapter acts and 0 elsewhere, [n, 1], of the runs whose adapters are to be invoked.
 * @param rows of the runs, without virtual ones: such runs have none
 */
export function activeRows(
  { inputs, positions, sequences }: PackedRows,
  rows: readonly RunRows[],
  slot: Slot<Invocation>,
  dtype: Dtype,
): ReadonlyMap<number, Tensor> {
  const active = new Map<number, Tensor>();
  for (const { run, length } of rows) {
    const invocation = slot.of(run);
    if (!invocation) continue;
    const acts = new Float32Array(length);
    // rows of others may have virtual ones among them, sequences do not count those
    const own = sequences.filter((one) => one.run === run);
    const start = own[0]?.start ?? 0;
    for (const sequence of own) {
      const end = sequence.start + sequence.length;
      const first = positions[sequence.start] as number;
      const tokens = inputs instanceof Int32Array ? inputs.subarray(sequence.start, end) : [];
      const found = invokedAt(invocation, tokens);
      const { invokedAt: from = found === null ? null : first + found } = sequence;
      if (from !== null && from < first + sequence.length)
        acts.fill(1, sequence.start - start + Math.max(0, from - first), end - start);
    }
    active.set(run, to(tensor(acts, [length, 1]), dtype));
  }
  return active;
}
