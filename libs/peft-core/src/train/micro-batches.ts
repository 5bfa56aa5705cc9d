// Cuts the examples of an optimiser step into micro-batches, which bound the memory of a forward.

/** Limits of one forward, in rows (tokens and virtual tokens). */
export interface Limits {
  /** At most so many rows; a longer example goes alone. */
  readonly budget: number;
  /** Micro-batches of fewer rows share a forward with other runs'. */
  readonly shareBelow: number;
}

/**
 * The budget bounds peak memory: SmolLM2-135M in bf16, LoRA on q and v, peaks at 1.64 GB with 2048 tokens
 * (docs/results.md); a smaller one would cost prompt tuning a second pass over its virtual tokens. Sharing a forward
 * pays where products have few rows and costs bit-identity when the company changes: shorter stretches only.
 */
export const DEFAULT_LIMITS: Limits = { budget: 2048, shareBelow: 64 };

export interface MicroBatch<E> {
  readonly examples: readonly E[];
  readonly rows: number;
}

/** In order, so many examples each but for the last. */
export function wholeBatches<E extends { readonly rows: number }>(
  examples: readonly E[],
  size: number,
): MicroBatch<E>[] {
  return Array.from({ length: Math.ceil(examples.length / size) }, (_, i) => {
    const batch = examples.slice(i * size, (i + 1) * size);
    return { examples: batch, rows: batch.reduce((sum, { rows }) => sum + rows, 0) };
  });
}

/** In order, cut by these examples alone: not a bit of a run may depend on who is beside it. */
export function microBatches<E extends { readonly rows: number }>(
  examples: readonly E[],
  budget: number,
): MicroBatch<E>[] {
  const total = examples.reduce((sum, { rows }) => sum + rows, 0);
  // Even pieces: a small remainder would run through the base at a poor rate.
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
