// The answer of a sweep over methods, in a sentence.
import type { SweepObject, TrialObject } from '@graft/contracts';
import { badness, METRIC_NAMES, scoreText, trialLabel } from '@graft/contracts/sweep-text';

/** Part of a validation loss by which runs of the same method differ between seeds. */
const LOSS_NOISE = 0.01;
/** Standard errors within which two accuracies are the same. */
const ERRORS = 1;
/** A method is worth naming as smaller from this factor on. */
const SMALLER = 2;

export interface MethodAnswer {
  readonly sentence: string;
  /** The best trial, and the smallest one that is as good within the noise. */
  readonly best: TrialObject;
  readonly smaller: TrialObject | null;
}

interface Measured {
  readonly trial: TrialObject;
  /** Lower is better. */
  readonly bad: number;
  readonly text: string;
}

/** Whether every trial has an accuracy, which is then what counts. */
const haveAccuracy = (trials: readonly TrialObject[]): boolean =>
  trials.every(({ best }) => best?.accuracy !== undefined);

function measuredOf(
  trial: TrialObject,
  metric: SweepObject['search']['metric'],
  byAccuracy: boolean,
): Measured {
  const accuracy = trial.best?.accuracy;
  return byAccuracy && accuracy !== undefined
    ? { trial, bad: -accuracy, text: `${Math.round(100 * accuracy)} %` }
    : { trial, bad: badness(trial.score, metric), text: scoreText(trial.score, metric) };
}

/** Difference that is within the noise: a standard error of two accuracies, or a part of the loss. */
function noiseOf(best: Measured, byAccuracy: boolean, examples: number | null): number {
  if (!byAccuracy) return LOSS_NOISE * Math.abs(best.bad);
  const p = -best.bad;
  // Near 100 % the estimate would be 0, so it counts at least one example.
  const n = examples ?? 100;
  return ERRORS * Math.max(1 / n, Math.sqrt((2 * p * (1 - p)) / n)) + 1e-9;
}

/** Returns "1/80 of the size" for a model of that part of another's size. */
export function partText(part: number): string {
  const times = 1 / part;
  const rounded = times < 10 ? Math.round(times) : Math.round(times / 10) * 10;
  return `1/${rounded} of the size`;
}

const sizeOf = ({
  trainable_parameters: parameters,
  model_bytes: bytes,
}: TrialObject): number | null => parameters ?? bytes;

/**
 * Returns which method fits the data best, and a smaller one within the noise. Null until a trial has a score.
 * @param examples number of held-out examples, from which the noise of an accuracy follows; null if unknown
 */
export function methodAnswer(
  { trials = [], search: { metric } }: SweepObject,
  examples: number | null,
): MethodAnswer | null {
  const done = trials.filter(
    ({ status, score, ended_at_step: early }) =>
      status === 'succeeded' && score !== null && early === null,
  );
  if (done.length === 0) return null;
  const byAccuracy = metric === 'valid_loss' && haveAccuracy(done);
  const found = done.map((trial) => measuredOf(trial, metric, byAccuracy));
  found.sort((a, b) => a.bad - b.bad || (sizeOf(a.trial) ?? 0) - (sizeOf(b.trial) ?? 0));
  const [best, ...others] = found as [Measured, ...Measured[]];
  const noise = noiseOf(best, byAccuracy, examples);
  const size = sizeOf(best.trial);
  const near = others
    .filter(({ trial, bad }) => {
      const own = sizeOf(trial);
      return bad - best.bad <= noise && own !== null && size !== null && own * SMALLER <= size;
    })
    .sort((a, b) => (sizeOf(a.trial) ?? 0) - (sizeOf(b.trial) ?? 0))[0];
  const what = byAccuracy ? '' : `${METRIC_NAMES[metric]} `;
  const first = `${trialLabel(best.trial)}: ${what}${best.text}.`;
  const second = near
    ? ` ${trialLabel(near.trial)} is within the noise (${near.text}) at ${partText((sizeOf(near.trial) ?? 1) / (size ?? 1))}.`
    : others[0]
      ? ` Next is ${trialLabel(others[0].trial)} with ${others[0].text}.`
      : ' It is the only method that ran to the end.';
  return { sentence: `${first}${second}`, best: best.trial, smaller: near?.trial ?? null };
}
