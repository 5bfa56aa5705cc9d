/** Inserts virtual rows before a stack's real rows, and separates them again. D hidden size. */
import { cat, narrow, split } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import type { PackedRows, VirtualRows, WholeRows } from '../batch.js';
import type { PackedLayout, Segment } from '../layout.js';
import type { Slot, VirtualInputs } from './slots.js';

const joined = (parts: readonly Tensor[]): Tensor =>
  parts.length === 1 ? (parts[0] as Tensor) : cat(parts);

/** Returns real rows [n, D] with the virtual rows before them. @param prompt rows [p, D] of a run's prompt */
export function withVirtual(
  real: Tensor,
  { spans }: PackedLayout,
  prompt: (run: number, taskId: number) => Tensor,
): Tensor {
  const sizes = spans.map((span) => span.real);
  const parts = sizes.length === 1 ? [real] : split(real, sizes);
  const made = new Map<string, Tensor>();
  const once = (run: number, taskId: number): Tensor => {
    const key = `${run} ${taskId}`;
    const rows = made.get(key) ?? prompt(run, taskId);
    made.set(key, rows);
    return rows;
  };
  return cat(
    spans.flatMap(({ run, taskIds }, i) => [
      ...taskIds.map((taskId) => once(run, taskId)),
      parts[i] as Tensor,
    ]),
  );
}

/** Returns the real rows of x, and the used virtual rows by run. */
export function takenApart(
  x: Tensor,
  { spans }: PackedLayout,
  inputs: Slot<VirtualInputs>,
): { real: Tensor; virtual: Map<number, VirtualRows> } {
  const virtual = new Map<number, VirtualRows>();
  let at = 0;
  const real = spans.map(({ run, taskIds, virtual: skip, real: length }) => {
    const { promptTargets = [], length: rows = 0 } = inputs.of(run) ?? {};
    const count = promptTargets.length > 0 ? rows : 1;
    const read = taskIds.map((_, i) => narrow(x, 0, at + (i + 1) * rows - count, count));
    if (skip > 0) virtual.set(run, { hidden: joined(read), taskIds, promptTargets });
    at += skip + length;
    return narrow(x, 0, at - length, length);
  });
  return { real: joined(real), virtual };
}

/** Returns the real rows, where each sequence has its own virtual rows. */
export function realOf(all: Tensor, { spans, hasVirtual }: PackedLayout): Tensor {
  if (!hasVirtual) return all;
  let at = 0;
  return cat(
    spans.map(({ virtual, real }) => {
      at += virtual + real;
      return narrow(all, 0, at - real, real);
    }),
  );
}

/** Returns the range of each sequence including its virtual rows. */
export function placesOf(
  { segments }: PackedLayout,
  sequences: PackedRows['sequences'],
): WholeRows['sequences'] {
  let at = 0;
  return sequences.map((sequence, i) => {
    const { rows: length } = segments[i] as Segment;
    return { ...sequence, start: (at += length) - length, length };
  });
}
