import type { Model } from '../models/model.js';
import type { TokenSequence } from './supervised-text.js';

/** Fewer tokens are not shared, as a sequence of their own is not free either: a guess, nobody measured where it pays. */
const LEAST_SHARED = 8;

/**
 * How many tokens all of a run's sequences begin with, whose rows are the same for all: `most` at most, the last of none
 * among them; 0 where these are few, or where the run would make others of them.
 */
export function sharedStart(
  model: Pick<Model, 'modules' | 'alikePositions'>,
  run: number,
  sequences: readonly TokenSequence[],
  most = Infinity,
): number {
  const [first, ...others] = sequences as [TokenSequence, ...TokenSequence[]];
  if (others.length === 0 || !canShare(model, run, sequences)) return 0;
  const end = Math.min(most, ...sequences.map(({ tokens }) => tokens.length - 1));
  const isCommon = (at: number): boolean =>
    others.every(({ tokens }) => tokens[at] === first.tokens[at]);
  let count = 0;
  while (count < end && isCommon(count)) count++;
  return count < LEAST_SHARED ? 0 : count;
}

/**
 * Whether rows of the run see of a sequence nothing but what stands before them in it: not what the run puts before all
 * of its sequences, not how long one becomes, and not which task it is of.
 */
function canShare(
  { modules, alikePositions }: Pick<Model, 'modules' | 'alikePositions'>,
  run: number,
  sequences: readonly TokenSequence[],
): boolean {
  const { inputs, prefix, invocation, side, scaling } = modules;
  const isPlain = ![inputs, prefix, invocation, side, scaling].some((slot) => slot.of(run));
  const task = sequences[0]?.taskId;
  return (
    isPlain &&
    sequences.every(({ tokens, taskId }) => tokens.length <= alikePositions && taskId === task)
  );
}
