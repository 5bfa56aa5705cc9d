// Cross-entropy at supervised positions only, in chunks of rows, so that [T, V] never exists:
//   z = h Wᵀ  [n, V]      p = softmax(z) in f32
//   loss_i = -log p_i[y_i]           dz_i = s_i (p_i - 1[y_i])        dh = dz W
// h: hidden rows [n, D] · W: head [V, D] · y: targets · s_i: 1 / (supervised tokens of the run's whole
// optimiser step), so that micro-batches add up to the mean over all its tokens (num_items_in_batch).
import {
  backward,
  cat,
  crossEntropy_,
  indexSelect,
  narrow,
  noGrad,
  tensor,
  tidy,
  type Tensor,
} from '@graft/kernels';
import type { PackedBatch, RunRows } from '../batch.js';
import type { Model } from '../models/model.js';
import type { ForwardContext } from '../nn/context.js';

/** Rows of logits at once: 256 of 49k classes are 25 MB in bf16. Two cores multiply 128 rows a fifth slower. */
export const CHUNK_ROWS = 256;

/** What a run's share of a micro-batch came to. */
export interface LossSum {
  /** Sum over supervised tokens of -log p. */
  loss: number;
  /** Supervised tokens whose target was the likeliest. */
  correct: number;
  count: number;
}

interface Targets {
  /** Rows of [hidden; virtual rows]. */
  readonly rows: readonly number[];
  readonly labels: readonly number[];
  readonly runs: readonly number[];
}

/**
 * Loss sums by run; with `scales` (s by run) also runs the backward pass through `hidden` into the leaves.
 * @param hidden [T, D] of the batch's rows
 */
export function packedLoss(
  model: Model,
  hidden: Tensor,
  batch: PackedBatch,
  ctx: ForwardContext,
  scales: ReadonlyMap<number, number> | null,
): Map<number, LossSum> {
  const sums = new Map<number, LossSum>();
  const targets = supervised(batch, ctx);
  if (targets.rows.length === 0) return sums;
  tidy(() => {
    const virtual = [...(ctx.virtual?.values() ?? [])];
    const all = virtual.length === 0 ? hidden : cat([hidden, ...virtual]);
    const rows = indexSelect(all, 0, indices(targets.rows));
    const gradients: Tensor[] = [];
    for (let start = 0; start < targets.rows.length; start += CHUNK_ROWS) {
      const length = Math.min(CHUNK_ROWS, targets.rows.length - start);
      const gradient = tidy(() =>
        chunk(model, narrow(rows.detach(), 0, start, length), targets, start, ctx, scales, sums),
      );
      if (gradient) gradients.push(gradient);
    }
    if (gradients.length > 0 && rows.requiresGrad) backward([rows], [cat(gradients)]);
  });
  return sums;
}

/** Adds a chunk's losses to `sums`; with `scales` returns dh [n, D]. */
function chunk(
  model: Model,
  rows: Tensor,
  targets: Targets,
  start: number,
  ctx: ForwardContext,
  scales: ReadonlyMap<number, number> | null,
  sums: Map<number, LossSum>,
): Tensor | null {
  const length = rows.shape[0] as number;
  const runs = targets.runs.slice(start, start + length);
  const here: ForwardContext = { training: ctx.training, runs: ctx.runs, rows: ranges(runs) };
  if (scales) rows.requiresGrad = true;
  const logits = model.head(rows, here);
  noGrad(() => {
    const labels = tensor(BigInt64Array.from(targets.labels.slice(start, start + length), BigInt), [
      length,
    ]);
    const s =
      scales &&
      tensor(
        Float32Array.from(runs, (run) => scales.get(run) ?? 0),
        [length],
      );
    const { losses, right } = crossEntropy_(logits.detach(), labels, s);
    count(sums, runs, losses.toArray() as Float32Array, right.toArray() as Uint8Array);
  });
  if (!scales) return null;
  backward([logits], [logits.detach()]); // now dz
  return rows.grad;
}

function count(
  sums: Map<number, LossSum>,
  runs: readonly number[],
  losses: Float32Array,
  right: Uint8Array,
): void {
  runs.forEach((run, i) => {
    let sum = sums.get(run);
    if (!sum) sums.set(run, (sum = { loss: 0, correct: 0, count: 0 }));
    sum.loss += losses[i] as number;
    sum.correct += right[i] as number;
    sum.count++;
  });
}

/** Supervised rows of the batch, run by run; a target before the first token is learnt from a virtual row. */
function supervised(batch: PackedBatch, ctx: ForwardContext): Targets {
  const virtualRow = new Map(
    [...(ctx.virtual?.keys() ?? [])].map((run, i) => [run, batch.tokens.length + i]),
  );
  const rows: number[] = [];
  const labels: number[] = [];
  const runs: number[] = [];
  const add = (row: number, label: number, run: number): void => {
    rows.push(row);
    labels.push(label);
    runs.push(run);
  };
  for (const { run, start, length, first } of batch.sequences) {
    const before = virtualRow.get(run);
    if (first !== undefined && first >= 0 && before !== undefined) add(before, first, run);
    for (let row = start; row < start + length; row++) {
      const label = batch.labels[row] as number;
      if (label >= 0) add(row, label, run);
    }
  }
  return { rows, labels, runs };
}

function ranges(runs: readonly number[]): RunRows[] {
  const found: { run: number; start: number; length: number }[] = [];
  runs.forEach((run, row) => {
    const last = found[found.length - 1];
    if (last?.run === run) last.length++;
    else found.push({ run, start: row, length: 1 });
  });
  return found;
}

function indices(rows: readonly number[]): Tensor {
  return tensor(BigInt64Array.from(rows, BigInt), [rows.length]);
}
