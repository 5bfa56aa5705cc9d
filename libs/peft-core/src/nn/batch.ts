import type { Tensor } from '@graft/kernels';

/** A run id that no adapter is attached under: its rows go through the base alone. */
export const BARE_BASE = -1;

/** A stretch of a stack's rows that attends only to itself, and to what its run shares. */
export interface Sequence {
  /** Id of a Run in the pack. */
  readonly run: number;
  /** First row. */
  readonly start: number;
  /** Rows. */
  readonly length: number;
  /**
   * The position from which an adapter acts that is to be invoked; null: nowhere. Left out, it is found in these rows:
   * whoever continues a sequence says what was found in all of its prompt.
   */
  readonly invokedAt?: number | null;
  /** Rows of the whole sequence, where some are to come that have a bearing on these; left out, up to the last of these. */
  readonly whole?: number;
  /**
   * How many sequences back the one stands whose rows it sees before its own, and whose positions it goes on from:
   * several may go on from one. In causal stacks; behind virtual tokens or a prefix only from the first; left out, none.
   */
  readonly after?: number;
  /** Which of its run's prompts it goes behind, where these are by task; left out, the first. */
  readonly taskId?: number;
  /** The sequence's handle in a KvCache, when the forward is given one. */
  readonly cache?: number;
}

/**
 * What a front end makes rows of: a tensor for each sequence, before any virtual row. f32: a picture [C, H, W], a
 * spectrogram [mel, frames] or a waveform [samples].
 */
export interface Features {
  readonly features: readonly Tensor[];
  /** By sequence, the rows that training hides (SpecAugment), of models that have something in their place. */
  readonly hidden?: readonly (readonly number[])[];
}

/** What one stack reads: sequences joined, never padded. Rows of one run are contiguous. */
export interface PackedRows {
  /** Token ids [T], rows that are embedded already [T, D], or what the stack's front end makes its rows of. */
  readonly inputs: Int32Array | Tensor | Features;
  /** Those of real rows, from 0; the model adds the run's virtual tokens. */
  readonly positions: Int32Array;
  /** Which part of its sequence a real row is of, where the model tells them apart; left out, the first one. */
  readonly types?: Int32Array;
  readonly sequences: readonly Sequence[];
}

/** What a forward reads. Sequence i of the decoder goes with sequence i of the encoder. */
export interface Batch {
  readonly encoder: PackedRows | null;
  readonly decoder: PackedRows | null;
}

/** A batch for models of a decoder alone. */
export interface DecoderBatch extends Batch {
  readonly encoder: null;
  readonly decoder: PackedRows;
}

/** Rows of a stack with its virtual ones. */
export interface WholeRows {
  /** [M, D] */
  readonly hidden: Tensor;
  readonly rows: readonly RunRows[];
  /** With the virtual rows that are their own, where they have some; none where runs share theirs. */
  readonly sequences: readonly Sequence[];
}

/** A token of a prompt that is learnt with every sequence behind it. */
export interface LearntToken {
  /** The virtual token that it is read off: the one before it. */
  readonly row: number;
  /** Its id. */
  readonly label: number;
  /** What its loss is multiplied with. */
  readonly weight: number;
}

/** What a run's virtual tokens came to. */
export interface VirtualRows {
  /** Final hidden states, prompt by prompt: [p, D] of all where some are learnt, else [1, D] of the last. */
  readonly hidden: Tensor;
  /** Tasks of the prompts, in order. */
  readonly taskIds: readonly number[];
  readonly learnt: readonly LearntToken[];
}

/** Rows of a run that the head is taught by, too. */
export interface TaughtRows {
  /** As the head shall read them, one for each of the run's rows [n, D]. */
  readonly hidden: Tensor;
  /** What their loss counts, beside that of the last hidden states. */
  readonly weight: number;
}

/** What a stack makes of its rows. */
export interface Rows {
  /** Final hidden states [T, D] of the real rows. */
  readonly hidden: Tensor;
  /** By run, where it has virtual tokens. */
  readonly virtual: ReadonlyMap<number, VirtualRows>;
  readonly whole: WholeRows;
  /** By run, where it has some. */
  readonly taught?: ReadonlyMap<number, TaughtRows>;
}

type RowsOf<R extends PackedRows | null> = R extends null ? null : Rows;

/** What a forward makes of a batch, stack by stack. */
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

/** The row ranges of the runs in a batch, in order. */
export function runRows(sequences: readonly Sequence[]): RunRows[] {
  const rows: { run: number; start: number; length: number }[] = [];
  for (const { run, start, length } of sequences) {
    const last = rows[rows.length - 1];
    if (last?.run === run) last.length += length;
    else rows.push({ run, start, length });
  }
  return rows;
}
