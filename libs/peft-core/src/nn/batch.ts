import type { Tensor } from '@graft/kernels';

/** Run id without an adapter: its rows go through the base model alone. */
export const BARE_BASE = -1;

/** Contiguous rows of a stack that attend only to each other and to what their run shares. */
export interface Sequence {
  /** Id of a Run in the pack. */
  readonly run: number;
  /** Index of the first row. */
  readonly start: number;
  /** Number of rows. */
  readonly length: number;
  /**
   * Position from which an invocable adapter acts; null: nowhere. If omitted, it is searched for in these
   * rows. A caller that continues a sequence passes the position found in the whole prompt.
   */
  readonly invokedAt?: number | null;
  /** Number of rows of the whole sequence, if later rows affect these. Defaults to the end of these rows. */
  readonly whole?: number;
  /**
   * Distance back, in sequences, to the sequence whose rows and positions this one continues. Several
   * sequences may continue the same one. Causal stacks only; with virtual tokens or a prefix, only the first
   * sequence can be continued. Defaults to none.
   */
  readonly after?: number;
  /** Task whose prompt precedes the sequence, if the run has prompts by task. Defaults to the first. */
  readonly taskId?: number;
  /** Handle of the sequence in a KvCache, if the forward pass uses one. */
  readonly cache?: number;
}

/**
 * Input of a front end: one f32 tensor per sequence, without virtual rows. An image [C, H, W], a spectrogram
 * [mel, frames] or a waveform [samples].
 */
export interface Features {
  readonly features: readonly Tensor[];
  /** Rows that training masks (SpecAugment), by sequence, for models with a mask embedding. */
  readonly hidden?: readonly (readonly number[])[];
}

/** Input of one stack: sequences concatenated without padding. Rows of one run are contiguous. */
export interface PackedRows {
  /** Token ids [T], embedded rows [T, D], or input of the stack's front end. */
  readonly inputs: Int32Array | Tensor | Features;
  /** Positions of real rows, from 0. The model adds the run's virtual tokens. */
  readonly positions: Int32Array;
  /** Token type of each real row, if the model has token types. Defaults to the first type. */
  readonly types?: Int32Array;
  readonly sequences: readonly Sequence[];
}

/** Input of a forward pass. Sequence i of the decoder belongs to sequence i of the encoder. */
export interface Batch {
  readonly encoder: PackedRows | null;
  readonly decoder: PackedRows | null;
}

/** Batch for decoder-only models. */
export interface DecoderBatch extends Batch {
  readonly encoder: null;
  readonly decoder: PackedRows;
}

/** Rows of a stack, including virtual rows. */
export interface WholeRows {
  /** [M, D] */
  readonly hidden: Tensor;
  readonly rows: readonly RunRows[];
  /** Sequences including virtual rows of their own. Virtual rows that runs share are not included. */
  readonly sequences: readonly Sequence[];
}

/** Prompt token that is trained with every sequence after it. */
export interface PromptTarget {
  /** Index of the virtual token that predicts this one: the token before it. */
  readonly row: number;
  /** Token id of the target. */
  readonly label: number;
  /** Weight of its loss. */
  readonly weight: number;
}

/** Results of a run's virtual tokens. */
export interface VirtualRows {
  /**
   * Final hidden states, prompt by prompt: [p, D] of all tokens if some are trained, else [1, D] of the last
   * one.
   */
  readonly hidden: Tensor;
  /** Tasks of the prompts, in order. */
  readonly taskIds: readonly number[];
  readonly promptTargets: readonly PromptTarget[];
}

/** Additional input of a run's head, with an auxiliary loss. */
export interface AuxiliaryRows {
  /** Input of the head, one row per row of the run [n, D]. */
  readonly hidden: Tensor;
  /** Weight of the auxiliary loss, relative to the loss of the final hidden states. */
  readonly weight: number;
}

/** Output of a stack. */
export interface Rows {
  /** Final hidden states [T, D] of the real rows. */
  readonly hidden: Tensor;
  /** Virtual tokens by run, for runs that have some. */
  readonly virtual: ReadonlyMap<number, VirtualRows>;
  readonly whole: WholeRows;
  /** Rows with an auxiliary loss by run, for runs that have some. */
  readonly auxiliary?: ReadonlyMap<number, AuxiliaryRows>;
}

type RowsOf<R extends PackedRows | null> = R extends null ? null : Rows;

/** Output of a forward pass, stack by stack. */
export interface Outputs<B extends Batch = Batch> {
  readonly encoder: RowsOf<B['encoder']>;
  readonly decoder: RowsOf<B['decoder']>;
}

/** Contiguous rows of one run. */
export interface RunRows {
  readonly run: number;
  readonly start: number;
  readonly length: number;
}

export const isFeatures = (inputs: PackedRows['inputs']): inputs is Features =>
  'features' in inputs;

/** Returns the row ranges of the runs in a batch, in order. */
export function runRows(sequences: readonly Sequence[]): RunRows[] {
  const rows: { run: number; start: number; length: number }[] = [];
  for (const { run, start, length } of sequences) {
    const last = rows[rows.length - 1];
    if (last?.run === run) last.length += length;
    else rows.push({ run, start, length });
  }
  return rows;
}
