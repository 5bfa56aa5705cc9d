/** A stretch of a batch's rows that attends only to itself, and to what its run shares. */
export interface Sequence {
  /** Id of a Run in the pack. */
  readonly run: number;
  /** First row in the batch. */
  readonly start: number;
  /** Rows. */
  readonly length: number;
  /**
   * Target before the first token: learnt from the last virtual token where the run has some, as PEFT does
   * with an unshifted label at position 0. Left out or -100: not supervised.
   */
  readonly first?: number;
  /** The sequence's handle in a KvCache, when the forward is given one. */
  readonly cache?: number;
}

/**
 * Sequences joined, never padded. Labels are already next-token targets: `labels[i]` is the token wanted after
 * `tokens[i]`, -100 where unsupervised and at each sequence's end. Rows of one run are contiguous.
 * Positions are those of real tokens, from 0; the model adds the run's virtual tokens.
 */
export interface PackedBatch {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly labels: Int32Array;
  readonly sequences: readonly Sequence[];
}

/** Contiguous rows of one run. */
export interface RunRows {
  readonly run: number;
  readonly start: number;
  readonly length: number;
}

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
