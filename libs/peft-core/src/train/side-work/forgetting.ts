/**
 * How much training has changed what the base could do: the loss of texts that no job trains on, with and
 * without the adapter.
 *
 *   L = -1/N Σ log p(y_i | y_<i)     over the N predicted tokens of FIXED_TEXTS, each text separately
 */
import type { PayloadOf } from '@graft/contracts';
import { noGrad, tidy } from '@graft/kernels';
import { BARE_BASE } from '../../nn/batch.js';
import type { Base } from '../../io/base/base-folder.js';
import type { Model } from '../../models/model.js';
import { causalLm, type TokenExample } from '../../tasks/causal-lm.js';
import { TASK_IDS } from '../../tasks/records/supervised-records.js';
import { addSums, NO_SUMS } from '../../tasks/task.js';
import { FIXED_TEXTS } from './fixed-texts.js';

/**
 * Token limit of each text. Longer texts are truncated, because memory is reserved only for the run itself.
 */
const MOST_TOKENS = 256;

export type Forgetting = NonNullable<PayloadOf<'finished'>['forgetting']>;

export interface ForgettingOptions {
  /** Maximum number of tokens of the run's sequences. */
  readonly maxTokens: number;
  /** Whether prompts differ by task; if so, those of the first task are measured. */
  readonly byTask: boolean;
}

/** Measures the loss of the fixed texts. The model must be a decoder that generates text. */
export function forgetting(
  { model, processor }: Base,
  run: number,
  { maxTokens, byTask }: ForgettingOptions,
): Forgetting {
  const records = FIXED_TEXTS.map((text) => ({ text, ...(byTask ? { [TASK_IDS]: 0 } : {}) }));
  const prepared = records.map((record) => causalLm.prepare(record, processor, {}));
  // at most half the positions: runs with fewer virtual tokens than that are measured on the same tokens
  const maxSeqLen = Math.min(MOST_TOKENS, Math.floor(model.maxPositions / 2), maxTokens);
  const encoded = causalLm.encode(prepared, processor, { maxSeqLen });
  const examples = encoded.map(({ example }) => example);
  return { loss: lossOf(model, run, examples), base_loss: lossOf(model, BARE_BASE, examples) };
}

function lossOf(model: Model, run: number, examples: readonly TokenExample[]): number {
  const ctx = { training: false, runs: new Map([[run, { seed: 0, step: 0 }]]) };
  const sums = examples.map((example) => {
    const shares = [{ run, examples: [example], options: {} }];
    return noGrad(() => tidy(() => causalLm.loss(model, shares, ctx, null))).get(run) ?? NO_SUMS;
  });
  const [loss] = causalLm.metrics;
  return loss?.of(sums.reduce(addSums, NO_SUMS)) ?? NaN;
}
