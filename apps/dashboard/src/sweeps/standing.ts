// The result of a sweep in a sentence: the best trial, and how the next ones compare with it.
import type { SweepObject, TrialObject } from '@graft/contracts';
import { METRIC_NAMES, rankedTrials, scoreText, trialLabel } from '@graft/contracts/sweep-text';

/** Part of a validation loss by which runs of the same method differ between seeds. */
const LOSS_NOISE = 0.01;
/** Difference of scores of an eval, which are between 0 and 1, that is too small to count. */
const SCORE_NOISE = 0.01;
/** Standard errors within which two accuracies are the same. */
const ERRORS = 1;
/** A method is worth naming as smaller from this factor on. */
const SMALLER = 2;

export interface Standing {
  readonly sentence: string;
  readonly best: TrialObject;
  /** Trials that differ from the best only by noise, best first. */
  readonly tied: readonly TrialObject[];
  /** The smallest of them, if it is much smaller than the best. */
  readonly smaller: TrialObject | null;
}

/** Comparison of the trials of a sweep. */
interface Measure {
  readonly text: (trial: TrialObject) => string;
  readonly isTie: (best: TrialObject, other: TrialObject) => boolean;
}

/** Compares accuracies. Near 100 % the standard error would be 0, so it counts at least one example. */
const byAccuracy = (examples: number): Measure => ({
  text: ({ best }) => `${Math.round(100 * (best?.accuracy ?? 0))} %`,
  isTie: (best, other) => {
    const p = best.best?.accuracy ?? 0;
    const error = Math.max(1 / examples, Math.sqrt((2 * p * (1 - p)) / examples));
    return Math.abs(p - (other.best?.accuracy ?? 0)) <= ERRORS * error + 1e-9;
  },
});

const byScore = (metric: SweepObject['search']['metric']): Measure => ({
  text: ({ score }) => scoreText(score, metric),
  isTie: ({ score: a }, { score: b }) => {
    const noise = metric === 'eval_score' ? SCORE_NOISE : LOSS_NOISE * Math.abs(a ?? 0);
    return Math.abs((a ?? 0) - (b ?? 0)) <= noise + 1e-9;
  },
});

/** Returns "1/80 of the size" for a model of that part of another's size. */
export function partText(part: number): string {
  const times = 1 / part;
  const rounded = times < 10 ? Math.round(times) : Math.round(times / 10) * 10;
  return `1/${rounded} of the size`;
}

/** Returns the size of a trial's model relative to another's; null if it is not much smaller. */
function smallPart(trial: TrialObject, than: TrialObject): number | null {
  const sizeOf = ({ trainable_parameters: count, model_bytes: bytes }: TrialObject) =>
    count ?? bytes;
  const [own, other] = [sizeOf(trial), sizeOf(than)];
  return own && other && own * SMALLER <= other ? own / other : null;
}

/**
 * Returns how the finished trials compare, in the order of their scores; null until one has a score.
 * @param examples number of held-out examples, from which the noise of an accuracy follows; null if unknown
 */
export function standingOf(sweep: SweepObject, examples: number | null): Standing | null {
  const { metric } = sweep.search;
  const [best, ...others] = rankedTrials(sweep.trials ?? [], metric).filter(
    ({ status, score }) => status === 'succeeded' && score !== null,
  );
  if (!best) return null;
  const hasAccuracy = [best, ...others].every((trial) => trial.best?.accuracy !== undefined);
  const isAccuracy = metric === 'valid_loss' && hasAccuracy;
  const measure = isAccuracy ? byAccuracy(examples ?? 100) : byScore(metric);
  const tied = others.filter((trial) => measure.isTie(best, trial));
  const [smaller = null] = tied
    .filter((trial) => smallPart(trial, best) !== null)
    .sort((a, b) => smallPart(a, best)! - smallPart(b, best)!);
  const what = isAccuracy ? '' : `${METRIC_NAMES[metric]} `;
  const first = `${trialLabel(best)}: ${what}${measure.text(best)}.`;
  return { sentence: `${first} ${restText(best, others, tied, measure)}`, best, tied, smaller };
}

/** Returns how the other trials compare with the best: those within the noise, or else the next one. */
function restText(
  best: TrialObject,
  [next]: readonly TrialObject[],
  tied: readonly TrialObject[],
  measure: Measure,
): string {
  if (!next) return 'No other trial has a result.';
  if (tied.length === 0) return `Next is ${trialLabel(next)} with ${measure.text(next)}.`;
  const named = tied.map((trial) => {
    const part = smallPart(trial, best);
    return `${trialLabel(trial)} (${measure.text(trial)}${part === null ? '' : `, ${partText(part)}`})`;
  });
  const listed = new Intl.ListFormat('en').format(named);
  return `${listed} ${tied.length === 1 ? 'is' : 'are'} within the noise: choose by size or time.`;
}
