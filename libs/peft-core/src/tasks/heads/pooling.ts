// Pooling of a sequence's last hidden states into an embedding.
import { indexSelect, matmul, tensor, to, type Tensor } from '@graft/kernels';
import type { Sequence } from '../../nn/batch.js';

/** Mean of the rows, first row or last row. */
export type Pooling = 'mean' | 'cls' | 'lasttoken';

/** Returns embeddings [sequences, D] in f32, pooled with the mode of each sequence. */
export function pooledRows(
  hidden: Tensor,
  sequences: readonly Sequence[],
  modes: readonly Pooling[],
): Tensor {
  return modes.includes('mean')
    ? averaged(to(hidden, 'f32'), sequences, modes)
    : to(indexSelect(hidden, 0, rowsOf(sequences, modes)), 'f32');
}

const rowsOf = (sequences: readonly Sequence[], modes: readonly Pooling[]): Tensor =>
  tensor(
    BigInt64Array.from(sequences, ({ start, length }, i) =>
      BigInt(modes[i] === 'cls' ? start : start + length - 1),
    ),
    [sequences.length],
  );

/**
 * Pools by a matrix product with weights [sequences, T]: 1 / length in all rows for a mean, 1 in a single
 * row.
 */
function averaged(
  hidden: Tensor,
  sequences: readonly Sequence[],
  modes: readonly Pooling[],
): Tensor {
  const rows = hidden.shape[0] as number;
  const weights = new Float32Array(sequences.length * rows);
  for (const [i, { start, length }] of sequences.entries()) {
    const at = i * rows + start;
    if (modes[i] === 'mean') weights.fill(1 / length, at, at + length);
    else weights[modes[i] === 'cls' ? at : at + length - 1] = 1;
  }
  return matmul(tensor(weights, [sequences.length, rows]), hidden);
}
