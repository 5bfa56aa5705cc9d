import type { Model } from '../../models/model.js';
import { UNSUPERVISED, type TokenSequence } from '../../data/text/supervised-text.js';

/** Fewer tokens are not shared, as a sequence of their own is not free either: a guess, nobody measured where it pays. */
const LEAST_SHARED = 8;

/**
 * How many tokens all of a run's sequences begin with, whose rows are the same for all: `most` at most, the last of none
 * among them; 0 where these are few, or where the run would make others of them. `behindVirtual`: what a run puts before
 * all of its sequences may stand before them.
 */
export function sharedStart(
  model: Pick<Model, 'modules' | 'alikePositions'>,
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
 * Whether rows of the run see of a sequence nothing but what stands before them in it: not how long one becomes, and not
 * which task it is of; and whether nothing is learnt of what stands before them.
 */
function canShare(
  { modules, alikePositions }: Pick<Model, 'modules' | 'alikePositions'>,
  run: number,
  sequences: readonly TokenSequence[],
): boolean {
  const { inputs, prefix, invocation, side, scaling } = modules;
  const isPlain = ![invocation, side, scaling].some((slot) => slot.of(run));
  const { length: virtual = 0, learnt = [] } = inputs.of(run) ?? {};
  const longest = alikePositions - virtual - (prefix.of(run)?.length ?? 0);
  const task = sequences[0]?.taskId;
  return (
    isPlain &&
    learnt.length === 0 &&
    sequences.every(
      ({ tokens, taskId, first }) =>
        tokens.length <= longest && taskId === task && (virtual === 0 || first === UNSUPERVISED),
    )
  );
}
