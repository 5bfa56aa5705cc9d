import type { Model } from '../../models/model.js';
import { UNSUPERVISED, type TokenSequence } from '../../data/text/supervised-text.js';

/**
 * Minimum length of a shared prefix in tokens, because an additional sequence has a cost. A guess, not
 * measured.
 */
const LEAST_SHARED = 8;

/**
 * Returns the length in tokens of the common prefix of a run's sequences whose rows are the same for all.
 * At most `most`, and never the last token of a sequence. 0 if the prefix is too short, or if the run's
 * adapter makes the rows differ. `behindVirtual`: whether virtual tokens or a prefix of the run may come
 * before it.
 */
export function sharedStart(
  model: Pick<Model, 'modules' | 'fixedRopePositions'>,
  run: number,
  sequences: readonly TokenSequence[],
  { most = Infinity, behindVirtual = false } = {},
): number {
  const [first, ...others] = sequences as [TokenSequence, ...TokenSequence[]];
  const { inputs, prefix } = model.modules;
  const isBehind = [inputs, prefix].some((slot) => slot.of(run));
  if (others.length === 0 || (isBehind && !behindVirtual) || !canShare(model, run, sequences))
    return 0;
  const end = Math.min(most, ...sequences.map(({ tokens }) => tokens.length - 1));
  const isCommon = (at: number): boolean =>
    others.every(({ tokens }) => tokens[at] === first.tokens[at]);
  let count = 0;
  while (count < end && isCommon(count)) count++;
  return count < LEAST_SHARED ? 0 : count;
}

/**
 * Whether the rows of a sequence depend only on earlier rows of the sequence, not on its length or its
 * task, and whether no prompt token before them is trained.
 */
function canShare(
  { modules, fixedRopePositions }: Pick<Model, 'modules' | 'fixedRopePositions'>,
  run: number,
  sequences: readonly TokenSequence[],
): boolean {
  const { inputs, prefix, invocation, side, scaling } = modules;
  const isPlain = ![invocation, side, scaling].some((slot) => slot.of(run));
  const { length: virtual = 0, promptTargets = [] } = inputs.of(run) ?? {};
  const longest = fixedRopePositions - virtual - (prefix.of(run)?.length ?? 0);
  const task = sequences[0]?.taskId;
  return (
    isPlain &&
    promptTargets.length === 0 &&
    sequences.every(
      ({ tokens, taskId, first }) =>
        tokens.length <= longest && taskId === task && (virtual === 0 || first === UNSUPERVISED),
    )
  );
}
