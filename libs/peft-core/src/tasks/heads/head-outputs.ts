/**
 * Outputs of the runs' task heads: one forward pass through the shared base model, then the head of each
 * run. n: number of rows that a head reads; D: hidden size.
 */
import {
  cat,
  indexSelect,
  mean,
  narrow,
  select,
  stack,
  tensor,
  tidy,
  type Tensor,
} from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import type { PackedRows, Rows } from '../../nn/batch.js';
import { packFeatures, packRows } from '../batches/pack.js';
import type { Model } from '../../models/model.js';
import type { BatchContext } from '../../nn/context.js';
import type { TaskHead } from '../../nn/layers/task-head.js';

/** Text input of a head. */
export interface TypedSequence {
  readonly tokens: Int32Array;
  /** `token_type_ids`; null if all are 0. */
  readonly types: Int32Array | null;
}

/** Image or audio input of a head, preprocessed for the base model's front end. */
export interface FeatureSequence {
  readonly feature: Tensor;
  /** Number of rows of the front end's output. */
  readonly rows: number;
  /** Rows that training masks. */
  readonly hidden?: readonly number[];
}

/** Sequences of one run. All sequences of a batch have the input kind of the base model. */
export interface HeadShare {
  readonly run: number;
  readonly sequences: readonly TypedSequence[] | readonly FeatureSequence[];
}

/**
 * Returns the outputs by share, in the base model's dtype: [sequences, outputs], or, for a head that reads
 * each row, [rows, outputs], sequence by sequence.
 */
export function headOutputs(
  model: Model,
  shares: readonly HeadShare[],
  ctx: BatchContext,
): Tensor[] {
  return tidy(() => {
    const packed = packedRows(shares);
    const rows = forward(model, packed, withLayerSum(model, shares, ctx));
    let sequence = 0;
    return shares.map(({ run, sequences }) => {
      const head = headOf(model, run);
      const from = sequence;
      sequence += sequences.length;
      const read = rowsFor(head, rows, packed, [from, sequence]);
      const length = read.shape[0] as number;
      return head.forward(read, { ...ctx, rows: [{ run, start: 0, length }] });
    });
  });
}

/** Adds the weighted layer sums of the runs' heads. All heads of one base model read the same layers. */
function withLayerSum(model: Model, shares: readonly HeadShare[], ctx: BatchContext): BatchContext {
  const sums = shares.flatMap(({ run }) => {
    const { layerSum } = headOf(model, run);
    return layerSum ? [{ run, ...layerSum }] : [];
  });
  const [first] = sums;
  if (!first) return ctx;
  const weights = new Map(sums.map(({ run, weights: own }) => [run, own.of(run)]));
  return { ...ctx, layerSum: { weights, last: first.last } };
}

function headOf(model: Model, run: number): TaskHead {
  const head = model.modules.heads.get(run);
  if (head) return head;
  const message = 'a base model has no labels; use a model that was trained to classify';
  throw new DomainError('unsupported', message, 'model');
}

function packedRows(shares: readonly HeadShare[]): PackedRows {
  const all = shares.flatMap(({ run, sequences }) =>
    sequences.map((sequence) => ({ run, ...sequence })),
  );
  const features = all.filter((one) => 'feature' in one);
  return features.length > 0
    ? packFeatures(features)
    : typedRows(all.filter((one) => 'tokens' in one));
}

function typedRows(all: readonly (TypedSequence & { readonly run: number })[]): PackedRows {
  const rows = packRows(all);
  const types = new Int32Array(rows.inputs.length);
  for (const [i, { start }] of rows.sequences.entries()) types.set(all[i]?.types ?? [], start);
  return { ...rows, types };
}

function forward(model: Model, packed: PackedRows, ctx: BatchContext): Rows {
  return model.stacks.encoder
    ? model.forward({ encoder: packed, decoder: null }, ctx).encoder
    : model.forward({ encoder: null, decoder: packed }, ctx).decoder;
}

/** Returns the rows [n, D] that a head reads from a range of sequences. */
function rowsFor(
  { pool, skips }: TaskHead,
  { hidden, whole }: Rows,
  { sequences }: PackedRows,
  [from, to]: readonly [number, number],
): Tensor {
  const own = sequences.slice(from, to);
  const [first] = own;
  if (pool === 'each') {
    const length = own.reduce((sum, each) => sum + each.length, 0);
    return narrow(hidden, 0, first?.start ?? 0, length);
  }
  if (pool === 'last')
    return picked(
      hidden,
      own.map(({ start, length }) => start + length - 1),
    );
  // A sequence includes the virtual tokens before it, so its first row may be a virtual token.
  const places = whole.sequences.slice(from, to);
  if (pool === 'first')
    return picked(
      whole.hidden,
      places.map(({ start }) => start),
    );
  return stack(
    places.map(({ start, length }) => {
      const rows = narrow(whole.hidden, 0, start, length);
      const meanOf = (from: number, to = length): Tensor =>
        mean(narrow(rows, 0, from, to - from), [0]);
      if (pool === 'first_two') return meanOf(0, 2);
      return pool === 'mean' ? meanOf(0) : cat([select(rows, 0, 0), meanOf(skips)]);
    }),
  );
}

const picked = (rows: Tensor, places: readonly number[]): Tensor =>
  indexSelect(rows, 0, tensor(BigInt64Array.from(places, BigInt), [places.length]));
