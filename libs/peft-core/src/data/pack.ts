import type { PackedBatch, Sequence } from '../batch.js';
import type { Example } from './examples.js';

/** Examples of one run. */
export interface Part {
  readonly run: number;
  readonly examples: readonly Example[];
}

/** Joins examples into one batch without padding, run by run in the given order. */
export function packBatch(parts: readonly Part[]): PackedBatch {
  const total = parts.reduce(
    (sum, { examples }) => sum + examples.reduce((inner, { tokens }) => inner + tokens.length, 0),
    0,
  );
  const tokens = new Int32Array(total);
  const positions = new Int32Array(total);
  const labels = new Int32Array(total);
  const sequences: Sequence[] = [];
  let start = 0;
  for (const { run, examples } of parts) {
    for (const example of examples) {
      const { length } = example.tokens;
      tokens.set(example.tokens, start);
      labels.set(example.labels, start);
      for (let i = 0; i < length; i++) positions[start + i] = i;
      sequences.push({ run, start, length, first: example.first });
      start += length;
    }
  }
  return { tokens, positions, labels, sequences };
}
