import type { Model } from '../../models/model.js';
import { packBatch, type PackedSequences, type Part } from './pack.js';
import { sharedStart } from './shared-start.js';
import { UNSUPERVISED, type TokenSequence } from '../../data/text/supervised-text.js';

/**
 * As `packBatch`, but what all sequences of a run begin with, a system prompt say, stands there once, and each goes on
 * from it: a row of it sees nothing of what follows, so that it is the same for all. Virtual tokens and a prefix of the
 * run's stand before it. Only up to the first row that is learnt, since a row has one label.
 */
export function packShared(model: Model, parts: readonly Part[]): PackedSequences {
  return packBatch(parts.map((part) => ({ run: part.run, examples: onSharedStart(model, part) })));
}

function onSharedStart(model: Model, { run, examples }: Part): Part['examples'] {
  const unlearnt = Math.min(
    ...examples
      .map(({ labels }) => labels.findIndex((label) => label !== UNSUPERVISED))
      .filter((row) => row >= 0),
  );
  const from = sharedStart(model, run, examples, { most: unlearnt, behindVirtual: true });
  if (from === 0) return examples;
  const [{ tokens, taskId }] = examples as [TokenSequence];
  const start: TokenSequence = {
    tokens: tokens.subarray(0, from),
    labels: new Int32Array(from).fill(UNSUPERVISED),
    first: UNSUPERVISED,
    ...(taskId !== undefined && { taskId }),
  };
  const rest = examples.map((example, i) => ({
    ...example,
    tokens: example.tokens.subarray(from),
    labels: example.labels.subarray(from),
    first: UNSUPERVISED,
    after: i + 1,
    firstPosition: from,
  }));
  return [start, ...rest];
}
