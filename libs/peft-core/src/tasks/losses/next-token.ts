/** What tasks have in common that learn each next token: sums, metrics, and the loss of guessing. */
import { grouped } from '@graft/contracts';
import { mean, type Metric, type Sums, type Task } from '../task.js';
import { packedLoss } from './token-loss.js';

/** Sums by run, over supervised tokens; otherwise as `packedLoss`. */
export function tokenSums(...of: Parameters<typeof packedLoss>): Map<number, Sums> {
  return new Map(
    [...packedLoss(...of)].map(([run, { loss, correct, count }]) => [
      run,
      { units: count, totals: { loss, correct } },
    ]),
  );
}

export const tokenChance: Task['chance'] = ({ vocabSize }) => ({
  loss: Math.log(vocabSize),
  of: `among ${grouped(vocabSize)} tokens`,
  isStart: false,
});

export const TOKEN_METRICS: readonly Metric[] = [
  {
    name: 'loss',
    title: 'Loss',
    unit: null,
    draw: { smooth: true, log: true },
    of: mean('loss'),
  },
  {
    name: 'accuracy',
    title: 'Token accuracy',
    openai_name: 'mean_token_accuracy',
    unit: '%',
    draw: { smooth: true, log: false },
    of: mean('correct'),
  },
  {
    name: 'supervised_tokens',
    title: 'Supervised tokens',
    unit: 'tokens',
    draw: null,
    of: ({ units }) => units,
  },
];
