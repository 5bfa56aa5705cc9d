// Splits the examples of an optimizer step into micro-batches, which bound the memory of a forward pass.

/** Limits of one forward pass, in rows (tokens and virtual tokens). */
export interface Limits {
  /** Maximum number of rows; a longer example is a micro-batch alone. */
  readonly budget: number;
  /** Micro-batches with fewer rows than this share a forward pass with other runs. */
  readonly shareBelow: number;
}

/**
 * The budget bounds peak memory: SmolLM2-135M in bf16, LoRA on q and v, peaks at 1.64 GB with 2048 tokens
 * (docs/results.md). With a smaller one, prompt tuning would process its virtual tokens in a second pass.
 * Sharing a forward pass is faster only for few rows, and results are then not bit-identical if the other
 * runs change. Therefore only short micro-batches share one.
 */
export const DEFAULT_LIMITS: Limits = { budget: 2048, shareBelow: 64 };

export interface MicroBatch<E> {
  readonly examples: readonly E[];
  readonly rows: number;
}

/** Splits examples, in order, into batches of equal size except for the last. */
export function wholeBatches<E extends { readonly rows: number }>(
  examples: readonly E[],
  size: number,
): MicroBatch<E>[] {
  return Array.from({ length: Math.ceil(examples.length / size) }, (_, i) => {
    const batch = examples.slice(i * size, (i + 1) * size);
    return { examples: batch, rows: batch.reduce((sum, { rows }) => sum + rows, 0) };
  });
}

/**
 * Splits examples, in order. It depends only on these examples: no bit of a run may depend on the other runs.
 */
export function microBatches<E extends { readonly rows: number }>(
  examples: readonly E[],
  budget: number,
): MicroBatch<E>[] {
  const total = examples.reduce((sum, { rows }) => sum + rows, 0);
  // Equal sizes: a small remainder would use the base inefficiently.
  const aim = total / Math.max(1, Math.ceil(total / budget));
  const found: { examples: E[]; rows: number }[] = [];
  for (const example of examples) {
    const last = found[found.length - 1];
    const { rows } = example;
    if (last && last.rows + rows <= budget && last.rows + rows / 2 <= aim) {
      last.examples.push(example);
      last.rows += rows;
    } else {
      found.push({ examples: [example], rows });
    }
  }
  return found;
}
