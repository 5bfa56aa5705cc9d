// What sweeps and their trials are, in words. Without zod, since the dashboard's bundle has it.
import { fieldsOfTitle, peftTitle } from '../jobs/job-method.js';
import { lossText } from '../jobs/loss-text.js';
import type { SweepMetric, SweepObject, TrialObject } from './sweeps.js';

export const METRIC_NAMES: Readonly<Record<SweepMetric, string>> = {
  valid_loss: 'validation loss',
  eval_score: 'eval score',
};

export const scoreText = (score: number | null, metric: SweepMetric): string => {
  if (score === null) return '–';
  return metric === 'eval_score' ? score.toFixed(2) : lossText(score);
};

/** How bad a score is: the lower, the better; without one, worse than any. */
export function badness(score: number | null, metric: SweepMetric): number {
  if (score === null) return Infinity;
  return metric === 'eval_score' ? -score : score;
}

/** `12 of 16 done, 9 ended early, 2 running` */
export function trialCountsText({
  trial_counts: counts,
  ended_early: early,
}: Pick<SweepObject, 'trial_counts' | 'ended_early'>): string {
  const done = counts.succeeded + counts.failed + counts.cancelled;
  const parts = [`${done} of ${counts.total} done`];
  if (early > 0) parts.push(`${early} ended early`);
  for (const state of ['failed', 'cancelled', 'running'] as const)
    if (counts[state] > 0) parts.push(`${counts[state]} ${state}`);
  return parts.join(', ');
}

/** The best first; those without a score last. */
export function rankedTrials(
  trials: readonly TrialObject[],
  metric: SweepMetric,
): readonly TrialObject[] {
  return [...trials].sort((a, b) => {
    const [left, right] = [badness(a.score, metric), badness(b.score, metric)];
    return left === right ? a.number - b.number : left - right;
  });
}

/** By how much the loss of a fixed text has risen: `+0.132`; fallen, where it is negative. */
export function forgettingText(found: TrialObject['forgetting']): string {
  if (!found) return '–';
  const risen = found.loss - found.base_loss;
  return `${risen < 0 ? '−' : '+'}${Math.abs(risen).toFixed(3)}`;
}

/** `r 8, learning_rate 0.0002`: the last word of each path; of an adapter its fields. */
export function trialOptionsText({ options }: Pick<TrialObject, 'options'>): string {
  return Object.entries(options)
    .map(([path, value]) => {
      if (path === 'peft' && typeof value === 'object' && value !== null) return fieldsText(value);
      return `${path.slice(path.lastIndexOf('.') + 1)} ${plain(value)}`;
    })
    .join(', ');
}

/** `DoRA r 8`: the method, then what its name does not say. */
function fieldsText(fields: object): string {
  const peft = { ...fields };
  const told = fieldsOfTitle(peft);
  const others = Object.entries(peft).filter(([name]) => !told.includes(name));
  return [peftTitle(peft), ...others.map(([name, value]) => `${name} ${plain(value)}`)].join(' ');
}

const plain = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);
