import type { Tensor } from '@graft/kernels';
import type { DecoderBatch, Features, PackedRows, Sequence } from '../../nn/batch.js';
import type { TokenSequence } from '../../data/text/supervised-text.js';

/** Sequence that may continue another sequence of its run, with its first position. */
type Continued = TokenSequence & Pick<Sequence, 'after'> & { readonly firstPosition?: number };

/** Sequences of one run. */
export interface Part {
  readonly run: number;
  readonly examples: readonly Continued[];
}

/** Concatenated decoder sequences with their targets. */
export interface PackedSequences {
  readonly batch: DecoderBatch;
  /** Target of each row; -100 if unsupervised and at the end of each sequence. */
  readonly labels: Int32Array;
  /**
   * Target before the first token of each sequence, predicted from the last virtual token if the run has
   * some, as PEFT does with an unshifted label at position 0. -100 if unsupervised.
   */
  readonly firstLabels: Int32Array;
}

/** Concatenates sequences into one batch without padding, run by run in the given order. */
export function packBatch(parts: readonly Part[]): PackedSequences {
  const all = parts.flatMap(({ run, examples }) =>
    examples.map((example) => ({ run, ...example })),
  );
  const decoder = packRows(all);
  const labels = new Int32Array(decoder.inputs.length);
  for (const [i, { start }] of decoder.sequences.entries())
    labels.set((all[i] as TokenSequence).labels, start);
  const firstLabels = Int32Array.from(all, ({ first }) => first);
  return { batch: { encoder: null, decoder }, labels, firstLabels };
}

/**
 * Concatenates token ids without padding, in the given order. `firstPosition` of a sequence: 0 by default.
 */
export function packRows(
  all: readonly (Pick<Sequence, 'run' | 'taskId' | 'after'> & {
    readonly tokens: Int32Array;
    readonly firstPosition?: number;
  })[],
): PackedRows & { readonly inputs: Int32Array } {
  const total = all.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const inputs = new Int32Array(total);
  const positions = new Int32Array(total);
  const sequences: Sequence[] = [];
  let start = 0;
  for (const { run, tokens, taskId, after, firstPosition = 0 } of all) {
    const { length } = tokens;
    inputs.set(tokens, start);
    for (let i = 0; i < length; i++) positions[start + i] = firstPosition + i;
    sequences.push({
      run,
      start,
      length,
      ...(taskId !== undefined && { taskId }),
      ...(after !== undefined && { after }),
    });
    start += length;
  }
  return { inputs, positions, sequences };
}

/**
 * Packs images or audio clips, in the given order. `rows`: number of rows of the front end's output for each.
 */
export function packFeatures(
  all: readonly {
    readonly run: number;
    readonly feature: Tensor;
    readonly rows: number;
    readonly hidden?: readonly number[];
  }[],
): PackedRows & { readonly inputs: Features } {
  const positions: number[] = [];
  const sequences = all.map(({ run, rows }): Sequence => {
    const start = positions.length;
    for (let i = 0; i < rows; i++) positions.push(i);
    return { run, start, length: rows };
  });
  return {
    inputs: {
      features: all.map(({ feature }) => feature),
      hidden: all.map(({ hidden = [] }) => hidden),
    },
    positions: Int32Array.from(positions),
    sequences,
  };
}
