// Splits what an optimiser step sees into forwards of bounded size, so that peak memory depends on the
// budget and not on the batch. Gradients add up, so the maths is the same.

/** One run's share of a step. */
export interface Share<E> {
  readonly run: number;
  readonly examples: readonly E[];
}

export interface Limits {
  /** Most tokens of a forward; a longer example goes alone. */
  readonly budget: number;
  /** Stretches of fewer tokens share a forward with other runs'. */
  readonly joinBelow: number;
}

/**
 * Micro-batches in order. Each run's stretch is cut by its own examples alone. Short stretches of different
 * runs are joined where they fit, a run at most once in a micro-batch; longer ones go alone, so that not a bit
 * of them depends on who shares the pack.
 */
export function microBatches<E extends { readonly tokens: { readonly length: number } }>(
  shares: readonly Share<E>[],
  { budget, joinBelow }: Limits,
): Share<E>[][] {
  const batches: { shares: Share<E>[]; tokens: number; joins: boolean }[] = [];
  for (const { run, examples } of shares) {
    for (const piece of pieces(examples, budget)) {
      const joins = piece.tokens < joinBelow;
      const host = batches.find(
        (batch) =>
          joins &&
          batch.joins &&
          batch.tokens + piece.tokens <= budget &&
          batch.shares.every((share) => share.run !== run),
      );
      const share = { run, examples: piece.examples };
      if (host) {
        host.shares.push(share);
        host.tokens += piece.tokens;
      } else {
        batches.push({ shares: [share], tokens: piece.tokens, joins });
      }
    }
  }
  return batches.map((batch) => batch.shares);
}

function pieces<E extends { readonly tokens: { readonly length: number } }>(
  examples: readonly E[],
  budget: number,
): { examples: E[]; tokens: number }[] {
  const total = examples.reduce((sum, { tokens }) => sum + tokens.length, 0);
  // Even pieces: a small remainder would run through the base at a poor rate.
  const aim = total / Math.max(1, Math.ceil(total / budget));
  const found: { examples: E[]; tokens: number }[] = [];
  for (const example of examples) {
    const last = found[found.length - 1];
    const length = example.tokens.length;
    if (last && last.tokens + length <= budget && last.tokens + length / 2 <= aim) {
      last.examples.push(example);
      last.tokens += length;
    } else {
      found.push({ examples: [example], tokens: length });
    }
  }
  return found;
}
