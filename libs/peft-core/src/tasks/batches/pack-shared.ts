import type { Model } from '../../models/model.js';
import { packBatch, type PackedSequences, type Part } from './pack.js';
import { sharedStart } from './shared-start.js';
import { UNSUPERVISED, type TokenSequence } from '../../data/text/supervised-text.js';

/**
 * Packs sequences as `packBatch` does, but stores the common prefix of a run's sequences (such as a system
 * prompt) once. Each sequence continues it: its rows do not attend to later rows, so they are the same for
 * all. The run's virtual tokens and prefix come before it. The common prefix ends before the first
 * supervised row, because a row has one label.
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
