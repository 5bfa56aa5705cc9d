/**
 * Checks whether an adapter that acts from its invocation tokens on (nn/sites/invocation.ts) can learn from examples.
 */
import { DomainError } from '@graft/contracts';
import { invokedAt } from '../nn/sites/invocation.js';
import { linesInWords } from '../data/line-ranges.js';
import type { TokenSequence } from '../data/text/supervised-text.js';

/** Whether each of an example's sequences has a target after the invocation tokens. */
export const learnsBehind = (
  tokens: readonly number[],
  sequences: readonly TokenSequence[],
): boolean =>
  sequences.every((sequence) => {
    const from = invokedAt({ tokens }, sequence.tokens);
    return from !== null && sequence.labels.some((label, row) => row >= from && label >= 0);
  });

export function notInvoked(
  lines: readonly number[],
  tokens: readonly number[],
  param: string,
): DomainError {
  const message = `${linesInWords(lines)}: an aLoRA would learn nothing there, because its invocation tokens (alora_invocation_tokens ${JSON.stringify(tokens)}) do not precede any target; add them to each example, or remove alora_invocation_tokens`;
  return new DomainError('invalid_training_file', message, param);
}
