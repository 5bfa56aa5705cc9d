// What "auto" becomes for batch_size and n_epochs: chosen by the number of optimiser steps, for a dozen examples in
// batches of 8 would be two steps a pass, which teach nothing. Small data gets smaller batches first, then more passes;
// large data is not touched. Measured in docs/log.md.

/** Steps that small data gets. */
const ENOUGH_STEPS = 100;
const LARGEST_BATCH = 8;
/** Passes by the number of records. */
const PASSES: readonly (readonly [below: number, epochs: number])[] = [
  [1_000, 3],
  [10_000, 2],
  [Infinity, 1],
];
/** More passes over the same few examples only learn them by heart. OpenAI's bound for its own "auto". */
const MOST_PASSES = 25;

export interface AutoFacts {
  readonly records: number;
  /** gradient_accumulation_steps */
  readonly accumulation: number;
  readonly maxSteps: number | null;
  /** Examples that a batch of the task has at least; 1 when left out. */
  readonly leastBatch?: number;
  /** What the user has chosen; left out, "auto". */
  readonly batchSize?: number;
  readonly epochs?: number;
}

export interface Numbers {
  readonly batchSize: number;
  readonly epochs: number;
}

export function autoNumbers(facts: AutoFacts): Numbers {
  const { records, accumulation, maxSteps, leastBatch = 1, ...given } = facts;
  const wanted = Math.min(ENOUGH_STEPS, maxSteps ?? Infinity);
  const usual = PASSES.find(([below]) => records < below)?.[1] ?? 1;
  const seen = (given.epochs ?? usual) * records;
  const batchSize =
    given.batchSize ??
    Math.max(
      leastBatch,
      Math.min(LARGEST_BATCH, records, Math.floor(seen / (wanted * accumulation))),
    );
  const stepsPerPass = Math.max(1, Math.ceil(records / (batchSize * accumulation)));
  const epochs =
    given.epochs ?? Math.max(usual, Math.min(MOST_PASSES, Math.ceil(wanted / stepsPerPass)));
  return { batchSize, epochs };
}
