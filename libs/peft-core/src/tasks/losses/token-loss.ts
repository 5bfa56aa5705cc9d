// Cross-entropy at supervised positions only, in chunks of rows, so that [T, V] is never allocated:
//   z = h Wᵀ  [n, V]      p = softmax(z) in f32
//   loss_i = -log p_i[y_i]           dz_i = s_i (p_i - 1[y_i])        dh = dz W
// h: hidden rows [n, D] · W: head [V, D] · y: targets · s_i: 1 / (supervised tokens of the run's whole
// optimizer step), so that micro-batches add up to the mean over all its tokens (num_items_in_batch).
import {
  backward,
  cat,
  crossEntropy_,
  indexSelect,
  mul,
  narrow,
  noGrad,
  tensor,
  tidy,
  to,
  type Tensor,
} from '@graft/kernels';
import { runRows } from '../../nn/batch.js';
import type { Rows, RunRows, Sequence, VirtualRows } from '../../nn/batch.js';
import type { PackedSequences } from '../batches/pack.js';
import type { Model } from '../../models/model.js';
import type { BatchContext, ForwardContext } from '../../nn/context.js';
import type { Linear } from '../../nn/layers/linear.js';

/**
 * Rows of logits per chunk: 256 rows of 49k classes take 25 MB in bf16. On two cores, 128 rows are a fifth
 * slower.
 */
export const CHUNK_ROWS = 256;

type SupervisedRows = Pick<Rows, 'hidden' | 'virtual' | 'auxiliary'>;

type Head = Pick<Model, 'head'>;

/** Loss sums of a run in a micro-batch. */
export interface LossSum {
  /** Sum of -log p over supervised tokens, weighted if prompt tokens are trained. */
  loss: number;
  /** Number of supervised tokens whose target had the highest probability. */
  correct: number;
  count: number;
  /** Auxiliary loss, in addition to `loss`. Omitted if there is none or no backward pass. */
  auxiliaryLoss?: number;
}

/**
 * Rows of hidden states with their targets and runs. The run matters because adapters may act on the head.
 */
export interface Targets {
  readonly rows: readonly number[];
  readonly labels: readonly number[];
  readonly runs: readonly number[];
}

export interface TargetLosses {
  /** -log p of each target. */
  readonly losses: Float32Array;
  /** 1 for each target that had the highest probability. */
  readonly right: Uint8Array;
}

/**
 * Returns loss sums by run. With `scales` (s by run), also runs the backward pass through the hidden
 * states into the leaves.
 * @param output model output for the packed sequences
 */
export function packedLoss(
  model: Model,
  output: SupervisedRows,
  packed: PackedSequences,
  ctx: BatchContext,
  scales: ReadonlyMap<number, number> | null,
): Map<number, LossSum> {
  const targets = supervised(packed, output);
  const { runs, weights } = targets;
  const s =
    scales && Float32Array.from(runs, (run, i) => (scales.get(run) ?? 0) * (weights[i] as number));
  return tidy(() => {
    const virtual = [...output.virtual.values()].map(({ hidden }) => hidden);
    const all = virtual.length === 0 ? output.hidden : cat([output.hidden, ...virtual]);
    const main = throughHead(model, all, targets, ctx, s);
    const sums = sumsOf(targets, main);
    const auxiliary = s ? auxiliaryLosses(model, output, packed, targets, ctx, s) : [];
    for (const { run, loss } of auxiliary) (sums.get(run) as LossSum).auxiliaryLoss = loss;
    // One backward pass for all, because they share a part of the graph.
    backwardOf([main, ...auxiliary]);
    return sums;
  });
}

/**
 * Computes the auxiliary losses: the same targets from other rows, through the head without adapters, as
 * in PEFT's ShadowPEFT:
 *   loss_i = -λ log softmax(s_i Wᵀ)[y_i]
 */
function auxiliaryLosses(
  model: Model,
  { auxiliary = new Map() }: SupervisedRows,
  { batch }: PackedSequences,
  { rows, labels, runs }: Targets,
  ctx: BatchContext,
  scales: Float32Array,
): (HeadLosses & { readonly run: number; readonly loss: number })[] {
  const bare: Head = {
    head: (kind, h, here) => (model.outputHeads.get(kind) as Linear).forward(h, here),
  };
  return runRows(batch.decoder.sequences).flatMap(({ run, start }) => {
    const given = auxiliary.get(run);
    const mine = [...runs.keys()].filter((i) => runs[i] === run);
    if (!given || mine.length === 0) return [];
    const { hidden, weight } = given;
    const targets = {
      rows: mine.map((i) => (rows[i] as number) - start),
      labels: mine.map((i) => labels[i] as number),
      runs: mine.map(() => run),
    };
    const s = Float32Array.from(mine, (i) => weight * (scales[i] as number));
    const { losses, ...learnt } = throughHead(bare, hidden, targets, ctx, s);
    return [{ ...learnt, run, loss: weight * losses.reduce((sum, loss) => sum + loss, 0) }];
  });
}

/**
 * Returns the loss of each target. With `scales` (s by target), also runs the backward pass through
 * `hidden` into the leaves.
 * @param hidden [n, D]
 */
export function targetLosses(
  model: Model,
  hidden: Tensor,
  targets: Targets,
  ctx: BatchContext,
  scales: Float32Array | null,
): TargetLosses {
  return tidy(() => {
    const { picked, gradient, ...found } = throughHead(model, hidden, targets, ctx, scales);
    backwardOf([{ picked, gradient }]);
    return found;
  });
}

function backwardOf(all: readonly HeadLosses[]): void {
  const through = all.filter(({ picked, gradient }) => gradient && picked.requiresGrad);
  if (through.length === 0) return;
  backward(
    through.map(({ picked }) => picked),
    through.map(({ gradient }) => gradient),
  );
}

/** Losses of targets whose weights depend on the losses. */
export interface OpenLosses extends TargetLosses {
  /**
   * Runs the backward pass of dloss/d(-log p) by target, through `hidden` into the leaves. Valid until the
   * `tidy` scope ends.
   * @param weights one per target
   */
  readonly learn: (weights: Float32Array) => void;
}

/**
 * Returns losses of targets whose weights depend on the losses. If nothing is trained between the rows and
 * their logits, a row's gradient is its weight times the gradient at weight 1, so one pass through the head
 * is enough: dh_i = s_i (p_i - 1[y_i]) W.
 * @param hidden [n, D]
 */
export function openLosses(
  model: Model,
  hidden: Tensor,
  targets: Targets,
  ctx: BatchContext,
): OpenLosses {
  if (!hidden.requiresGrad || headTrains(model, hidden, targets, ctx)) {
    const found = noGrad(() => targetLosses(model, hidden, targets, ctx, null));
    const learn = (weights: Float32Array): void =>
      void targetLosses(model, hidden, targets, ctx, weights);
    return { ...found, learn };
  }
  const ones = new Float32Array(targets.rows.length).fill(1);
  const { picked, gradient, ...found } = throughHead(model, hidden, targets, ctx, ones);
  return {
    ...found,
    learn: (weights) =>
      tidy(() => {
        if (!gradient) return;
        const byRow = tensor(weights, [weights.length, 1]);
        backward([picked], [to(mul(gradient, byRow), gradient.dtype)]);
      }),
  };
}

/** Whether one of the runs has trainable parameters between the rows and their logits. */
function headTrains(model: Model, hidden: Tensor, { rows, runs }: Targets, ctx: BatchContext) {
  const owners = [...new Set(runs)];
  if (owners.length === 0) return false;
  return tidy(() => {
    const some = indexSelect(hidden.detach(), 0, indices(owners.map((run) => rows[runs.indexOf(run)] as number))); // prettier-ignore
    return model.head('lm', some, { ...ctx, rows: ranges(owners) }).requiresGrad;
  });
}

interface HeadLosses {
  /** Rows of `hidden` that have a target, [targets, D]. */
  readonly picked: Tensor;
  /** Gradient of these rows, if there are scales. */
  readonly gradient: Tensor | null;
}

type ThroughHead = TargetLosses & HeadLosses;

/** Computes losses by chunks. With `scales`, also accumulates the gradients of the head's parameters. */
function throughHead(
  model: Head,
  hidden: Tensor,
  { rows, labels, runs }: Targets,
  ctx: BatchContext,
  scales: Float32Array | null,
): ThroughHead {
  const found = { losses: new Float32Array(rows.length), right: new Uint8Array(rows.length) };
  return tidy(() => {
    const picked = indexSelect(hidden, 0, indices(rows));
    const gradients: Tensor[] = [];
    for (let start = 0; start < rows.length; start += CHUNK_ROWS) {
      const end = Math.min(rows.length, start + CHUNK_ROWS);
      const gradient = tidy(() => {
        const h = narrow(picked.detach(), 0, start, end - start);
        const here = { ...ctx, rows: ranges(runs.slice(start, end)) };
        const s = scales?.slice(start, end) ?? null;
        const chunk = chunkLosses(model, h, labels.slice(start, end), here, s);
        found.losses.set(chunk.losses, start);
        found.right.set(chunk.right, start);
        return s ? h.grad : null;
      });
      if (gradient) gradients.push(gradient);
    }
    return { ...found, picked, gradient: gradients.length > 0 ? cat(gradients) : null };
  });
}

/** Computes the losses of a chunk's rows h [n, D]. With `scales`, writes dh into the gradient of h. */
function chunkLosses(
  model: Head,
  h: Tensor,
  labels: readonly number[],
  ctx: ForwardContext,
  scales: Float32Array | null,
): TargetLosses {
  const length = labels.length;
  if (scales) h.requiresGrad = true;
  const logits = model.head('lm', h, ctx);
  const found = noGrad(() => {
    const y = tensor(BigInt64Array.from(labels, BigInt), [length]);
    const s = scales && tensor(scales, [length]);
    const { losses, right } = crossEntropy_(logits.detach(), y, s);
    return { losses: losses.toArray() as Float32Array, right: right.toArray() as Uint8Array };
  });
  if (scales) backward([logits], [logits.detach()]); // `logits` now holds dz
  return found;
}

/** Targets with weights. Some targets stand for one of each sequence. */
interface WeighedTargets extends Targets {
  /** Factor on the loss of each target. */
  readonly weights: readonly number[];
  /** Number of times that each target counts. */
  readonly times: readonly number[];
}

function sumsOf(
  { runs, weights, times }: WeighedTargets,
  { losses, right }: TargetLosses,
): Map<number, LossSum> {
  const sums = new Map<number, LossSum>();
  runs.forEach((run, i) => {
    let sum = sums.get(run);
    if (!sum) sums.set(run, (sum = { loss: 0, correct: 0, count: 0 }));
    const count = times[i] as number;
    sum.loss += (weights[i] as number) * (losses[i] as number);
    sum.correct += count * (right[i] as number);
    sum.count += count;
  });
  return sums;
}

/**
 * Returns the supervised rows of the batch, run by run. A target before the first token is predicted from
 * a virtual row. Trained prompt tokens count for each sequence, but appear once for all of them.
 */
function supervised(
  { batch, labels: wanted, firstLabels }: PackedSequences,
  { virtual }: SupervisedRows,
): WeighedTargets {
  const found = {
    rows: [] as number[],
    labels: [] as number[],
    runs: [] as number[],
    weights: [] as number[],
    times: [] as number[],
  };
  const add = (row: number, label: number, run: number, weight = 1, times = 1): void => {
    found.rows.push(row);
    found.labels.push(label);
    found.runs.push(run);
    found.weights.push(weight * times);
    found.times.push(times);
  };
  const { sequences } = batch.decoder;
  const prompts = new Map<string, VirtualRows & { readonly at: number; readonly last: number }>();
  let at = wanted.length;
  for (const [run, rows] of virtual) {
    const count = (rows.hidden.shape[0] as number) / rows.taskIds.length;
    for (const taskId of rows.taskIds) {
      prompts.set(`${run} ${taskId}`, { ...rows, at, last: at + count - 1 });
      at += count;
    }
  }
  // A run with one prompt uses it for all sequences, regardless of their task ids.
  const keyOf = ({ run, taskId = 0 }: Sequence): string =>
    prompts.has(`${run} ${taskId}`) ? `${run} ${taskId}` : `${run} 0`;
  const behind = new Map<string, number>();
  for (const each of sequences) behind.set(keyOf(each), (behind.get(keyOf(each)) ?? 0) + 1);
  for (const [i, sequence] of sequences.entries()) {
    const { run, start, length } = sequence;
    const prompt = prompts.get(keyOf(sequence));
    const times = behind.get(keyOf(sequence)) ?? 0;
    behind.delete(keyOf(sequence));
    if (prompt && times > 0) {
      for (const { row, label, weight } of prompt.promptTargets)
        add(prompt.at + row, label, run, weight, times);
    }
    const first = firstLabels[i] as number;
    if (first >= 0 && prompt) add(prompt.last, first, run);
    for (let row = start; row < start + length; row++) {
      const label = wanted[row] as number;
      if (label >= 0) add(row, label, run);
    }
  }
  return found;
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
