/**
 * Position from which an adapter acts in a sequence: the start of the last occurrence of its invocation tokens (aLoRA,
 * arXiv:2504.12397). Earlier rows have the base model's keys and values, which other rows may also read.
 */
import { tensor, to } from '@graft/kernels';
import type { Dtype, Tensor } from '@graft/kernels';
import type { PackedRows, RunRows } from '../batch.js';
import type { Slot } from './slots.js';

/** Invocation tokens of a run's adapter. */
export interface Invocation {
  readonly tokens: readonly number[];
}

/** Returns the start of the last occurrence of these tokens, or null. */
export function invokedAt(
  { tokens }: Invocation,
  sequence: { readonly length: number; readonly [place: number]: number },
): number | null {
  for (let at = sequence.length - tokens.length; at >= 0; at--)
    if (tokens.every((token, i) => sequence[at + i] === token)) return at;
  return null;
}

/**
 * Returns masks [n, 1] of the runs with invocable adapters: 1 where the adapter acts, else 0.
 * @param rows rows of the runs without virtual rows, which such runs do not have
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
    // rows of other runs may include virtual rows, which sequences do not count
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
