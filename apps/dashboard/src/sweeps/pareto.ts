// Costs of trials, and the Pareto front of cost and score.
import { badness } from '@graft/contracts/sweep-text';
import { duration } from '@graft/contracts/duration';
import type { SweepMetric, TrialObject } from '@graft/contracts';
import { bytes, count } from '../format.js';

export interface Cost {
  readonly name: string;
  readonly of: (trial: TrialObject) => number | null;
  readonly text: (value: number) => string;
}

/** Formats seconds. Trials of small models take less than one, and their axis has such ticks. */
const timeText = (seconds: number): string =>
  seconds < 60 ? `${Number(seconds.toPrecision(3))} s` : duration(seconds);

/** Costs that can be plotted against the score. */
export const COSTS: Readonly<Record<string, Cost>> = {
  time: {
    name: 'Training time',
    of: (trial) => trial.training_seconds,
    text: timeText,
  },
  memory: { name: 'Memory', of: (trial) => trial.memory_bytes, text: bytes },
  size: { name: 'Model size', of: (trial) => trial.model_bytes, text: bytes },
  forgetting: {
    name: 'Forgetting',
    of: ({ forgetting }) => forgetting && forgetting.loss - forgetting.base_loss,
    text: (value) => value.toPrecision(3),
  },
  parameters: {
    name: 'Trainable parameters',
    of: (trial) => trial.trainable_parameters,
    text: count,
  },
};

export interface Point {
  readonly trial: TrialObject;
  readonly cost: number;
  readonly score: number;
  /** Whether no other trial is at least as good at a lower cost, or better at the same cost. */
  readonly isBest: boolean;
}

/** Returns finished trials that have a cost and a score, sorted by cost. */
export function pointsOf(
  trials: readonly TrialObject[],
  metric: SweepMetric,
  { of }: Cost,
): readonly Point[] {
  const found = trials.flatMap((trial) => {
    const cost = of(trial);
    const { score } = trial;
    return trial.status !== 'succeeded' || cost === null || score === null
      ? []
      : [{ trial, cost, score, bad: badness(score, metric) }];
  });
  found.sort((a, b) => a.cost - b.cost || a.bad - b.bad);
  let least = Infinity;
  return found.map(({ bad, ...point }) => {
    const isBest = bad < least;
    least = Math.min(least, bad);
    return { ...point, isBest };
  });
}
