// Resolves "auto" for batch_size and n_epochs by the number of optimizer steps: a dozen examples in batches
// of 8 would be two steps per epoch, too few to train. Small data gets smaller batches first, then more
// epochs; large data keeps the usual values. Measured in docs/log.md.

/** Minimum number of steps for small data. */
const ENOUGH_STEPS = 100;
const LARGEST_BATCH = 8;
/** Number of epochs by the number of records. */
const PASSES: readonly (readonly [below: number, epochs: number])[] = [
  [1_000, 3],
  [10_000, 2],
  [Infinity, 1],
];
/**
 * Maximum number of epochs, as in OpenAI's own "auto". More passes over the same few examples only memorize
 * them.
 */
const MOST_PASSES = 25;

export interface AutoFacts {
  readonly records: number;
  /** gradient_accumulation_steps */
  readonly accumulation: number;
  readonly maxSteps: number | null;
  /** Minimum number of examples in a batch of the task. The default is 1. */
  readonly leastBatch?: number;
  /** The user's choice; undefined means "auto". */
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
